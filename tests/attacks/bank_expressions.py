"""Sympy answers whose text is meant to run, to take forever, or to say something else than the object."""

from __future__ import annotations

from tests.attacks.bank import forgery

__all__ = ["EXPRESSIONS"]

DENSITY = "pushforward_density"
MARK = "/tmp/expression-was-run"
# One text after the other, call by call.
PRINTS = """\
texts = [{texts}]
calls = [0]
class Lie(sp.Symbol):
    def _sympystr(self, printer):
        calls[0] += 1
        return texts[calls[0] % len(texts)]
    __str__ = __repr__ = lambda self: texts[0]
def pushforward_density(p_u, T, u, x):
    return Lie("x", real=True)
"""
# No more in a group than there are checks, each of which ends with the first wrong text.
TEXTS = {
    "that run": (
        f"\"__import__('os').system('touch {MARK}')\"",
        f"\"[open('{MARK}', 'w') for _ in [1]]\"",
        '"x.__class__.__mro__[-1].__subclasses__()"',
        '"(lambda: x)()"',
        "\"'x' * 10**10\"",
    ),
    "without end": (
        "'x+' * 5_000_000 + 'x'",
        "'-' * 19_000 + 'x'",
        "'(' * 3_000 + 'x' + ')' * 3_000",
        "'x' + '.a' * 9_000",
        "'Max(' + ','.join('x' for _ in range(9000)) + ')'",
    ),
    "that take long, or cannot be read": (
        "'9**9**9**9**9**9'",
        "'1' + '0' * 15_000",
        "'factorial(' * 50 + '99' + ')' * 50",
        "'\\u0435xp(-\\u0445**2)'",
        "'x\\ud800\\0'",
        "'exp(x=1)'",
    ),
}
OBJECTS = """\
calls = [0]
def tower(x):
    t = sp.Integer(9)
    for _ in range(6):
        t = sp.Pow(9, t, evaluate=False)
    return t
def nested(x):
    for _ in range(500):
        x = sp.sin(x, evaluate=False)
    return x
def pushforward_density(p_u, T, u, x):
    calls[0] += 1
    makers = [lambda: "exp(-x**2/2)", lambda: tower(x), lambda: nested(x), lambda: sp.exp,
              lambda: sp.zeros(300, 300), lambda: sp.Integral(p_u, u)]
    return makers[calls[0] % 6]()
"""
FORMULAS = {
    "coupling_jacobian": "def coupling_jacobian(s, t, u):\n    return [[u[0]] * 1000] * 1000",
    "jacobian_matrix": "def jacobian_matrix(T, variables):\n    return sp.eye(len(variables))",
}

EXPRESSIONS = [
    *(
        forgery(
            f"texts {name}",
            answer=PRINTS.replace("{texts}", ", ".join(texts)),
            exercise=DENSITY,
            right=(),
            assignment="01_change_of_variables",
            seconds=40,
            outside=(MARK,),
        )
        for name, texts in TEXTS.items()
    ),
    forgery(
        "expressions that are none",
        answer=OBJECTS,
        exercise=DENSITY,
        right=(),
        assignment="01_change_of_variables",
        seconds=40,
    ),
    *(
        forgery(
            f"a matrix for {exercise}",
            answer=source,
            exercise=exercise,
            right=(),
            assignment="02_jacobians_and_determinants",
        )
        for exercise, source in FORMULAS.items()
    ),
    forgery(
        "an ELBO that is infinite",
        answer="def elbo(x, prior, decoder, encoder, num_samples=1):\n    return x.sum(-1) * float('inf')",
        exercise="elbo",
        right=(),
        assignment="04_variational_autoencoder",
    ),
    forgery(
        "a prior that is no distribution",
        answer="GaussianPrior = lambda M: (lambda: type('N', (), {'__getattr__': lambda s, n: s, '__call__': lambda s, *a: 0.0})())",
        exercise="GaussianPrior",
        right=(),
        assignment="05_flow_prior_vae",
    ),
]
