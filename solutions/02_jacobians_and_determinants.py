# %% [markdown]
# # 2 · Jacobians and determinants: the price of moving probability
#
# In one dimension a density is divided by the slope of the map. In $D$ dimensions the slope becomes a matrix, and what
# counts is its determinant: the factor by which the map changes volume. This notebook makes that picture exact, and then
# asks what a determinant *costs*. The answer shaped the whole field: flows are built so that theirs is nearly free.
#
# **You will be able to**
# - read a Jacobian determinant off a picture of a warped grid, and compute it by formula and by autodiff;
# - say why the log-determinants of composed maps add, and at which point each one is taken;
# - compute a triangular determinant in $O(D)$ without overflow, and prove that the diagonal is enough;
# - derive the block Jacobian of a coupling layer and the log-determinant of a permutation;
# - turn a two-dimensional density into a flow by hand: Rosenblatt's triangular map.
#
# **Time:** about 60 minutes of reading, 130 minutes of exercises.
# **Needs:** notebook 1 (change of variables in one dimension), matrices and partial derivatives, the first steps of PyTorch.

# %%
import math
import time

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from autograder_tests.checks import jacobians_and_determinants as check
from flowlib import data, interactive, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(2)
BLUE, RED, GREEN = (plotting.PALETTE[name] for name in ("blue", "vermilion", "green"))

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $D$ | | number of variables |
# | $B$ | | number of examples in a batch; `*batch` stands for any number of batch axes, also none |
# | $u$ | `(*batch, D)` | base variable |
# | $x = T(u)$ | `(*batch, D)` | data variable; $T$ is invertible and differentiable both ways |
# | $J_T(u)$, $J_{ij} = \partial x_i/\partial u_j$ | `(*batch, D, D)` | Jacobian of $T$ at $u$: **rows count outputs, columns count inputs** |
# | $\log\lvert\det J\rvert$ | `(*batch,)` | log-determinant, one number per example, in nats |
# | $z_0, z_1, \dots, z_K$ | `(*batch, D)` | points on the way through $K$ maps, $z_0 = u$, $z_K = x$ |
# | $d$ | | number of variables that a coupling layer (section 6) keeps, $d = \lfloor D/2 \rfloor$, rounded down |
# | $u_{\le d}$, $u_{>d}$ | `(*batch, d)`, `(*batch, D-d)` | the first $d$ variables, and the others |
# | $\odot$ | | product entry by entry |
#
# **Direction, here and everywhere in the course:** `forward` goes from base to data and returns
# $(x, \log|\det \partial x/\partial u|)$. `inverse` goes from data to base and returns $(u, \log|\det \partial u/\partial x|)$.
#
# In formulas indices begin at 1, in code at 0.
#
# **Sympy exercises.** An answer is always a *function*: symbols come in, an expression or a matrix goes out. A matrix may be a
# `Matrix`, an `ImmutableMatrix` or a list of rows. It is compared by value at random points, so its form does not matter.

# %% [markdown]
# ## 1 · A determinant is a factor of volume
#
# Take this map of the plane:
#
# $$x_1 = u_1 + 0.4\,\sin(1.5\,u_2), \qquad x_2 = 0.6\,u_2 + 0.1\,u_2^3 + 0.3\,\cos(1.5\,u_1).$$
#
# Lay a square grid over the $u$-plane and look where $T$ carries it. Three squares of side 1 will be shaded: A around $(0, 2)$, B around
# $(0, 0)$, C around $(1.5, -1)$.
#
# **Predict.** How steep is $x_2$ as a function of $u_2$ at each of the three? Which square grows, which shrinks?


# %%
def bend(u):
    """x = T(u), `(*batch, 2)` → `(*batch, 2)`."""
    u1, u2 = u[..., 0], u[..., 1]
    x1 = u1 + 0.4 * torch.sin(1.5 * u2)
    x2 = 0.6 * u2 + 0.1 * u2**3 + 0.3 * torch.cos(1.5 * u1)
    return torch.stack([x1, x2], dim=-1)


def outline(corner, side, n=200):
    """Points along the border of a square with the given lower left corner, `(4n, 2)`."""
    s = torch.linspace(0, 1, n, dtype=torch.float64)
    zero, one = torch.zeros_like(s), torch.ones_like(s)
    border = torch.cat([torch.stack(p, -1) for p in ((s, zero), (one, s), (1 - s, one), (zero, 1 - s))])
    return torch.tensor(corner, dtype=torch.float64) + side * border


def area(border):
    """Area inside a closed curve `(n, 2)`: the shoelace formula."""
    a, b = border, border.roll(-1, 0)
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum().abs().item()


cells = {"A": (-0.5, 1.5), "B": (-0.5, -0.5), "C": (1.0, -1.5)}
centers = torch.tensor([[c[0] + 0.5, c[1] + 0.5] for c in cells.values()], dtype=torch.float64)
J_centers = flowlib.batch_jacobian(bend, centers)

fig, axes = plt.subplots(1, 2, figsize=(9, 4.4))
maps = (lambda u: (u, None), lambda u: (bend(u), None))
for ax, move, letter in zip(axes, maps, "ux", strict=True):
    plotting.plot_warped_grid(
        ax,
        move,
        extent=(-2.5, 2.5, -2.5, 2.5),
        lines=21,
        title="square grid" if letter == "u" else "its image under $T$",
        xlabel=f"${letter}_1$",
        ylabel=f"${letter}_2$",
    )
    for (name, corner), color in zip(cells.items(), (RED, BLUE, GREEN), strict=True):
        border = move(outline(corner, 1.0))[0]
        ax.fill(border[:, 0], border[:, 1], color=color, alpha=0.5)
        ax.annotate(name, border.mean(0).tolist(), ha="center", va="center", weight="bold")
plt.show()

for (name, corner), J in zip(cells.items(), J_centers, strict=True):
    print(
        f"square {name}: area 1 → {area(bend(outline(corner, 1.0))):.3f}   |det J| at its center: {J.det().abs():.3f}"
    )

# %% [markdown]
# **Figure.** Left: a square grid in the $u$-plane with three shaded squares, A at the top, B in the middle, C at the lower right.
# Right: the images of grid and squares. Lines bend, and away from the middle the horizontal ones move apart: A has grown, B has
# shrunk, C has nearly kept its area. The printed areas agree roughly with $|\det J|$ at the centers. Roughly, because $J$ varies
# within a square.
#
# Zoom in. Near a point $u$ every differentiable map is its linear part plus a remainder. For a small step $h$, shape `(D,)`,
#
# $$T(u + h) = T(u) + J_T(u)\,h + o(\lVert h\rVert),$$
#
# where $o(\lVert h\rVert)$ is something that shrinks faster than the length of $h$.
#
# A small square of side $\varepsilon$ becomes nearly a parallelogram. Its edges are $\varepsilon$ times the columns of $J$, its
# area is $\varepsilon^2\,|\det J|$. So
#
# $$\boxed{\;|\det J_T(u)| = \lim_{\varepsilon\to 0}\frac{\text{volume of } T(\text{cube of side } \varepsilon \text{ at } u)}{\varepsilon^D}\;}$$
#
# The sign of $\det J$ says whether $T$ mirrors. Volume does not care: hence the absolute value.
#
# Check by machine: shrink square C around its center.

# %%
center = centers[2]
exact = J_centers[2].det().abs().item()
print("side     area ratio      |det J|    difference")
for side in (1.0, 0.5, 0.25, 0.125, 0.0625):
    corner = (center - side / 2).tolist()
    ratio = area(bend(outline(corner, side, n=2000))) / side**2
    print(f"{side:<8} {ratio:.8f}    {exact:.6f}   {ratio - exact:+.1e}")

# %% [markdown]
# Each halving divides the difference by about four, as a smooth map promises at the center of a square.
#
# **Predict.** Now choose the square yourself. The grid lines of the picture above crowd in one place. Where, by the formula for $T$, is $|\det J|$ smallest, and how small?
#
# <details><summary>Answer</summary>
#
# $\det J = 0.6 + 0.3\,u_2^2 + 0.27\,\sin(1.5\,u_1)\cos(1.5\,u_2)$. It is smallest at $u_2 = 0$ and $\sin(1.5\,u_1) = -1$, which is $u_1 \approx -1.05$: there it is $0.33$. A small square keeps a third of its area.
# </details>

# %%
interactive.jacobian()

# %% [markdown]
# **Figure.** Interactive. Left: a grid with a shaded square that you can move and shrink. Middle: their images. Right: the square's image magnified by $1/\varepsilon$, and dashed the parallelogram
# that $J$ alone makes of the square. At side 1.5 the two differ visibly. As $\varepsilon$ shrinks the image fills the parallelogram, and its area divided by $\varepsilon^2$ comes to agree with $|\det J|$ to all digits shown.
#
# **What it means for densities.** The map carries a small cube along. The probability in it stays; its volume changes.
# Density is probability per volume, so
#
# $$p_x(x) = p_u(u)\,|\det J_T(u)|^{-1}, \qquad u = T^{-1}(x).$$
#
# Where the map stretches, density thins out.
#
# ### Exercise 1 · The Jacobian as a formula
#
# Difficulty 1/5 (warm-up) · about 8 minutes · 3 points
#
# Write a function that takes a list of $M$ sympy expressions and a list of $N$ symbols and returns the $M \times N$ Jacobian. Rows count
# outputs, columns count variables, in the order given.


# %% solution="jacobian_matrix"
def jacobian_matrix(T, variables):
    """The Jacobian of a list of expressions.

    Args:
        T: list of M sympy expressions.
        variables: list of N symbols.

    Returns:
        sympy Matrix (M rows, N columns) with J[i, j] = ∂T[i]/∂variables[j].
    """
    ### BEGIN SOLUTION
    return sp.Matrix([[sp.diff(output, v) for v in variables] for output in T])
    ### END SOLUTION


# %% test="jacobian_matrix_entries" points=1
check.jacobian_matrix_entries(jacobian_matrix)
### BEGIN HIDDEN TESTS
check.jacobian_matrix_entries(jacobian_matrix, hidden=1)
### END HIDDEN TESTS

# %% test="jacobian_matrix_column_order" points=1
check.jacobian_matrix_column_order(jacobian_matrix)
### BEGIN HIDDEN TESTS
check.jacobian_matrix_column_order(jacobian_matrix, hidden=1)
### END HIDDEN TESTS

# %% test="jacobian_matrix_rectangular" points=1
check.jacobian_matrix_rectangular(jacobian_matrix)
### BEGIN HIDDEN TESTS
check.jacobian_matrix_rectangular(jacobian_matrix, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# `sp.diff(expression, symbol)` is one entry. Which loop is the outer one, over outputs or over variables?
# </details>
# <details><summary>Help: my determinant is right and the matrix is not</summary>
#
# $\det J^\top = \det J$: a transposed Jacobian hides in every determinant, and shows as soon as it is multiplied with something.
# </details>
# <details><summary>Template</summary>
#
# `return sp.Matrix([[… for v in variables] for output in T])`
# </details>
#
# ### The same by autodiff
#
# A network has no formula worth printing. Autodiff gives the numbers: one backward pass yields the gradient of **one** scalar, so a
# Jacobian with $D$ rows takes $D$ backward passes. A batch does not make it more: example $n$ of the output depends on example $n$ of the
# input alone, so the gradient of $\sum_n f(x)_{n,i}$ holds row $i$ of every example's Jacobian at once.
#
# **Predict.** What would you get from the gradient of the sum over *both* axes, `f(x).sum()`?
#
# <details><summary>Answer</summary>
#
# $\partial\bigl(\sum_i f_i\bigr)/\partial x_j = \sum_i J_{ij}$: the column sums. Shape `(B, D)`, one axis too few, and the
# entries cannot be told apart any more.
# </details>
#
# ### Exercise 2 · The Jacobians of a batch
#
# Difficulty 3/5 (needs a clear head about axes) · about 12 minutes · 2 points
#
# Write a function that returns the Jacobian of every example in a batch, by autodiff: one matrix per example, taken at that example's own
# point.


# %% solution="batch_jacobian"
def batch_jacobian(f, x):
    """The Jacobian of each example: J[n, i, j] = ∂f(x)[n, i] / ∂x[n, j].

    Args:
        f: maps `(B, D)` to `(B, D)`, example by example.
        x: tensor `(B, D)`.

    Returns:
        tensor `(B, D, D)`.
    """
    ### BEGIN SOLUTION
    x = x.detach().requires_grad_()
    outputs = f(x).sum(0)  # no example depends on another: the sum over examples keeps their gradients apart
    rows = [torch.autograd.grad(output, x, retain_graph=True)[0] for output in outputs]
    return torch.stack(rows, dim=1)
    ### END SOLUTION


# %% test="batch_jacobian_of_one_example" points=1
check.batch_jacobian_of_one_example(batch_jacobian)
### BEGIN HIDDEN TESTS
check.batch_jacobian_of_one_example(batch_jacobian, hidden=1)
### END HIDDEN TESTS

# %% test="batch_jacobian_of_a_batch" points=1
check.batch_jacobian_of_a_batch(batch_jacobian)
### BEGIN HIDDEN TESTS
check.batch_jacobian_of_a_batch(batch_jacobian, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Make a copy of `x` that requires a gradient, compute `y = f(x)` once, and loop over the outputs `i`. `torch.autograd.grad(y[:, i].sum(), x)`
# has shape `(B, D)`: which part of `J` is that?
# </details>
# <details><summary>Help: "Trying to backward through the graph a second time"</summary>
#
# PyTorch frees the graph after one backward pass. Ask it to stay: `retain_graph=True`.
# </details>
# <details><summary>Help: my result has shape (B, D, B, D)</summary>
#
# `torch.autograd.functional.jacobian(f, x)` also asks how example 1 changes example 2. The answers are zeros. Sum the outputs over the
# batch first, or use `torch.func.vmap`.
# </details>
#
# What follows uses `flowlib`'s own functions, never your answers: a stuck exercise does not stop you.

# %% [markdown]
# ## 2 · The way back: the inverse function theorem
#
# Differentiate the identity $T^{-1}(T(u)) = u$ by $u$. The chain rule gives
#
# $$J_{T^{-1}}(x)\; J_T(u) = I \quad\Longrightarrow\quad J_{T^{-1}}(x) = J_T(u)^{-1}, \qquad x = T(u).$$
#
# Here $I$ is the identity matrix, shape `(D, D)`. Two things to read off. The Jacobian of the inverse is the inverse **matrix**, not the
# matrix of reciprocals. And the two sides live at **different points**: the left at $x$, the right at $u$. Slides often write
# $J_{T^{-1}} = J_T^{-1}$ and leave the points out; put them back in. For the log-determinant:
#
# $$\log|\det J_{T^{-1}}(x)| = -\log|\det J_T(u)|.$$
#
# So nobody needs a formula for $T^{-1}$ to know how it changes volume. Check with polar coordinates, $x = (r\cos\theta, r\sin\theta)$,
# where both directions can be written down:

# %%
r, theta = sp.symbols("r theta", positive=True)
x1, x2 = sp.symbols("x1 x2", real=True)
to_plane = [r * sp.cos(theta), r * sp.sin(theta)]
to_polar = [sp.sqrt(x1**2 + x2**2), sp.atan2(x2, x1)]

J_forward = symbolic.jacobian_matrix(to_plane, [r, theta])
J_back = symbolic.jacobian_matrix(to_polar, [x1, x2]).subs({x1: to_plane[0], x2: to_plane[1]})
product = sp.simplify(J_back * J_forward)
print(
    "det of (r, θ) → x:", sp.simplify(J_forward.det()), "   det of the way back:", sp.simplify(J_back.det())
)
print("J of the inverse at x, times J at (r, θ):", product.tolist())
assert product == sp.eye(2)

# %% [markdown]
# The factor $r$ is the one in $\mathrm dx_1\,\mathrm dx_2 = r\,\mathrm dr\,\mathrm d\theta$.
#
# **Predict.** So far $T^{-1}$ was given. The theorem says more: where $\det J_T(u) \ne 0$ (and the derivatives are continuous), the map
# *can* be inverted near $u$. Suppose $\det J_T(u) > 0$ at every $u \in \mathbb R^2$. Is $T$ then invertible?
#
# <details><summary>Answer</summary>
#
# No. *Near* every point it is, but two distant points may still land on the same spot. Take $T(u) = (e^{u_1}\cos u_2,\; e^{u_1}\sin u_2)$.
# Its determinant is $e^{2u_1} > 0$, and $u_2$ and $u_2 + 2\pi$ have the same image. The density formula with one preimage would be wrong
# there. A flow needs invertibility as a whole, and gets it by construction.
# </details>

# %%
u1, u2 = sp.symbols("u1 u2", real=True)
spiral = [sp.exp(u1) * sp.cos(u2), sp.exp(u1) * sp.sin(u2)]
print("det J =", sp.simplify(symbolic.jacobian_matrix(spiral, [u1, u2]).det()))
here, turned = ([e.subs({u1: 0, u2: a}) for e in spiral] for a in (0, 2 * sp.pi))
print("T(0, 0) =", here, "  T(0, 2π) =", turned)

# %% [markdown]
# ### Exercise 3 · The Jacobian of the inverse, without the inverse
#
# Difficulty 1/5 (one line) · about 5 minutes · 2 points
#
# Given $T$ as a list of expressions in $u$, return $J_{T^{-1}}$ at the point $x = T(u)$, in terms of $u$.


# %% solution="inverse_jacobian"
def inverse_jacobian(T, u):
    """∂u/∂x at x = T(u), as expressions in u.

    Args:
        T: list of D sympy expressions in the symbols u.
        u: list of D symbols.

    Returns:
        sympy Matrix (D, D) with entries ∂u_i/∂x_j.
    """
    ### BEGIN SOLUTION
    return sp.Matrix(T).jacobian(u).inv()
    ### END SOLUTION


# %% test="inverse_jacobian_of_linear_map" points=1
check.inverse_jacobian_of_linear_map(inverse_jacobian)
### BEGIN HIDDEN TESTS
check.inverse_jacobian_of_linear_map(inverse_jacobian, hidden=1)
### END HIDDEN TESTS

# %% test="inverse_jacobian_of_bent_map" points=1
check.inverse_jacobian_of_bent_map(inverse_jacobian)
### BEGIN HIDDEN TESTS
check.inverse_jacobian_of_bent_map(inverse_jacobian, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: do I have to solve x = T(u) for u?</summary>
#
# No, and often nobody can. The theorem trades the inverse of a *map* for the inverse of a *matrix*.
# </details>
# <details><summary>Help: it works for diagonal Jacobians only</summary>
#
# $1/J_{ij}$ entry by entry inverts a diagonal. In general the test is $J^{-1}J = I$: multiply and look.
# </details>

# %% [markdown]
# ## 3 · Composition: log-determinants add along the way
#
# One map is never enough. Let $z_0 = u$, $z_k = T_k(z_{k-1})$ and $x = z_K$. The chain rule multiplies the Jacobians, and each one is taken
# at the point that its own map receives:
#
# $$J_T(u) = J_{T_K}(z_{K-1}) \cdots J_{T_2}(z_1)\, J_{T_1}(z_0), \qquad
# \boxed{\;\log|\det J_T(u)| = \sum_{k=1}^{K} \log|\det J_{T_k}(z_{k-1})|\;}$$
#
# because the determinant of a product is the product of determinants. This is why a layer returns its log-determinant *together* with the
# point: the next layer needs the point, and the sum needs the number.
#
# **Find the error.** A lecture on flows states, for $T = T_K\circ\dots\circ T_1$,
#
# $$\log|\det J_T(x)| = \sum_{k=1}^K \log|\det J_{T_k}(x)|. \qquad (\ast)$$
#
# Try $(\ast)$ on the smallest example there is, $D = 1$: first a shift $T_1(u) = u + 1$, then $T_2(z) = z^3 + z$. **Predict** both
# sides for the point $0$.

# %%
z = sp.Symbol("z", real=True)
T1, T2 = u1 + 1, z**3 + z
true_slope = sp.diff(T2.subs(z, T1), u1)
at_arrival = sp.diff(T2, z).subs(z, T1) * sp.diff(T1, u1)
at_start = sp.diff(T2, z).subs(z, u1) * sp.diff(T1, u1)
for title, slope in (("true", true_slope), ("T2' at T1(u)", at_arrival), ("T2' at u, as in (∗)", at_start)):
    print(f"{title:20}  slope at 0: {slope.subs(u1, 0)}")
assert sp.simplify(true_slope - at_arrival) == 0

# %% [markdown]
# ### Exercise 4 · What is wrong with the formula?
#
# Difficulty 2/5 (writing) · about 8 minutes · 2 points, graded by hand
#
# (a) Correct $(\ast)$: at which point does each Jacobian belong, the one on the left included? (b) For which maps is $(\ast)$ right all the same, and
# why can a test with such maps not find the error?
#
# *What we look for.* One point for (a): the left side is taken at the base point $u$, and the $k$-th term at $z_{k-1}$, where the previous map arrived.
# One point for (b): maps whose Jacobian (or its determinant) is the same everywhere, such as affine maps, permutations, additive couplings; there
# the point of evaluation cannot matter.

# %% [markdown] manual="where_each_jacobian_is_taken" points=2
# ### BEGIN SOLUTION
# (a) $T$ acts on $u$, so the left side is $\log|\det J_T(u)|$. Map $k$ acts on $z_{k-1} = T_{k-1}(\cdots T_1(u))$, so the right side is
# $\sum_k \log|\det J_{T_k}(z_{k-1})|$.
#
# (b) For maps whose determinant does not depend on the point: linear and affine maps, permutations, volume-preserving maps. With constants it makes no
# difference where they are evaluated, so the wrong formula gives the right number. A test needs a map whose determinant varies, and a map before it
# that moves the point.
# ### END SOLUTION

# %% [markdown]
# ### Exercise 5 · The log-determinant of two maps in a row
#
# Difficulty 2/5 (the substitution is the point) · about 10 minutes · 3 points
#
# `T1` and `T2` are Python functions: each takes a list of $D$ expressions and returns a list of $D$ expressions. Return
# $\log|\det J|$ of $u \mapsto T_2(T_1(u))$ as **one expression in** $u$.


# %% solution="composition_log_det"
def composition_log_det(T1, T2, u):
    """log|det ∂x/∂u| of x = T2(T1(u)), an expression in u.

    Args:
        T1, T2: functions, list of D expressions → list of D expressions.
        u: list of D real symbols.
    """
    ### BEGIN SOLUTION
    z = [sp.Symbol(f"z_{i}", real=True) for i in range(len(u))]
    arrived = dict(zip(z, T1(u), strict=True))
    first = sp.Matrix(T1(u)).jacobian(u).det()
    second = sp.Matrix(T2(z)).jacobian(z).det().subs(arrived)
    return sp.log(sp.Abs(first)) + sp.log(sp.Abs(second))
    ### END SOLUTION


# %% test="composition_of_linear_maps" points=1
check.composition_of_linear_maps(composition_log_det)
### BEGIN HIDDEN TESTS
check.composition_of_linear_maps(composition_log_det, hidden=1)
### END HIDDEN TESTS

# %% test="composition_of_bent_maps" points=2
check.composition_of_bent_maps(composition_log_det)
### BEGIN HIDDEN TESTS
check.composition_of_bent_maps(composition_log_det, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: how do I differentiate T2 by something that is an expression?</summary>
#
# You cannot. Call `T2` with $D$ fresh symbols $z$, differentiate by these, and substitute $z = T_1(u)$ afterwards.
# </details>
# <details><summary>Help: linear maps pass, bent ones do not</summary>
#
# Then one Jacobian is taken at the wrong point. Print the free symbols of your second Jacobian before and after the substitution.
# </details>
# <details><summary>Help: the answer has an imaginary part</summary>
#
# A map that mirrors has a negative determinant. Where is the absolute value?
# </details>

# %% [markdown]
# ## 4 · Triangular matrices: the diagonal is enough
#
# How is a determinant computed? Expand along the first row. With $A_{\setminus 1,\setminus j}$ for $A$ without row 1 and column $j$:
#
# $$\det A = \sum_{j=1}^{D} (-1)^{1+j}\, a_{1j}\, \det A_{\setminus 1,\setminus j}, \qquad \det (a) = a.$$
#
# The smaller matrix $A_{\setminus 1,\setminus j}$ is called a **minor**. Each of the $D$ terms asks for a determinant of size $D-1$: $D!$
# products in all. Now let $A$ be **lower triangular**: zeros above the diagonal. Look at $D = 2$ and $D = 3$ first.

# %%
for D in (2, 3):
    full = sp.Matrix(D, D, lambda i, j: sp.Symbol(f"a{i + 1}{j + 1}", real=True))
    lower = full.lower_triangular()
    print(f"D = {D}, all entries: ", full.det())
    print(f"D = {D}, triangular:  ", lower.det())
    assert lower.det() == math.prod(lower.diagonal())

# %% [markdown]
# The first row of a lower triangular matrix is $(a_{11}, 0, \dots, 0)$. One term of the expansion survives, and its minor is lower
# triangular again, one size smaller:
#
# $$\det A = a_{11} \det A_{\setminus 1,\setminus 1}.$$
#
# The recursion runs down the diagonal. Below it may stand anything.
#
# ### Exercise 6 · A determinant by recursion
#
# Difficulty 2/5 (a classic) · about 12 minutes · 2 points
#
# Write the expansion along the first row for a square sympy matrix of any size, $D = 1$ included. Write it yourself: `A.det()` would pass the
# check and teach you nothing.


# %% solution="determinant_by_expansion"
def determinant_by_expansion(A):
    """The determinant of A by expansion along its first row.

    Args:
        A: sympy Matrix (D, D), D ≥ 1. `A[0, j]` is an entry, `A.rows` is D, `A.minor_submatrix(i, j)` is A without
            row i and column j.

    Returns:
        an expression.
    """
    ### BEGIN SOLUTION
    if A.rows == 1:
        return A[0, 0]
    terms = [(-1) ** j * A[0, j] * determinant_by_expansion(A.minor_submatrix(0, j)) for j in range(A.cols)]
    return sum(terms)
    ### END SOLUTION


# %% test="determinant_of_general_matrix" points=1
check.determinant_of_general_matrix(determinant_by_expansion)
### BEGIN HIDDEN TESTS
check.determinant_of_general_matrix(determinant_by_expansion, hidden=1)
### END HIDDEN TESTS

# %% test="determinant_of_triangular_matrix" points=1
check.determinant_of_triangular_matrix(determinant_by_expansion)
### BEGIN HIDDEN TESTS
check.determinant_of_triangular_matrix(determinant_by_expansion, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Two cases. One row: the determinant is the only entry. More rows: loop over the columns of the first row and call the function on the minor.
# </details>
# <details><summary>Help: triangular matrices pass, general ones do not</summary>
#
# One term of a triangular expansion survives, the one with sign $+$. All signs and all other minors go untested there.
# </details>
#
# ### Exercise 7 · Prove it
#
# Difficulty 3/5 (an induction) · about 12 minutes · 3 points, graded by hand
#
# Prove: for every $D \ge 1$ and every lower triangular $A \in \mathbb R^{D\times D}$, $\det A = \prod_{i=1}^D a_{ii}$. Then say in one sentence why the same
# holds for upper triangular matrices.
#
# *What we look for.* One point for the base case and a stated induction hypothesis. One point for the step: only the first term of the expansion is left,
# and its minor is lower triangular with diagonal $a_{22},\dots,a_{DD}$. One point for upper triangular matrices ($\det A^\top = \det A$, or expansion
# along the first column).

# %% [markdown] manual="triangular_determinant_proof" points=3
# ### BEGIN SOLUTION
# *Base case.* For $D = 1$, $\det(a_{11}) = a_{11}$.
#
# *Step.* Suppose the claim holds for size $D - 1$. Let $A$ be lower triangular of size $D$. In its first row $a_{1j} = 0$ for $j > 1$, so the expansion has
# one term, $\det A = a_{11}\det A_{\setminus 1,\setminus 1}$. The minor is $A$ without its first row and column: still zero above the diagonal, with diagonal
# $a_{22},\dots,a_{DD}$. By hypothesis its determinant is $\prod_{i\ge2}a_{ii}$, so $\det A = \prod_{i\ge1}a_{ii}$.
#
# *Upper triangular.* $A^\top$ is then lower triangular with the same diagonal, and $\det A^\top = \det A$.
# ### END SOLUTION

# %% [markdown]
# ### In floating point: sum logarithms
#
# **Predict.** $D = 400$ diagonal entries, each equal to $0.05$. The log-determinant is $400\,\ln 0.05$. What does `torch` give for the
# logarithm of the product, in float64?

# %%
entries = torch.full((400,), 0.05, dtype=torch.float64)
print("log of the product:  ", entries.prod().log().item())
print("sum of the logarithms:", f"{entries.log().sum().item():.3f}")
print(
    f"the product is 10^{400 * math.log10(0.05):.0f}; the smallest positive float64 is {np.nextafter(0.0, 1.0)}"
)

# %% [markdown]
# The product is no float64: it is rounded to 0. An 8 × 8 image has 64 variables, a photograph hundreds of thousands: flows never form
# a determinant, only its logarithm.
#
# ### Exercise 8 · log|det| of triangular matrices
#
# Difficulty 2/5 (four properties to get right) · about 10 minutes · 4 points
#
# `A` has shape `(*batch, D, D)`, every matrix lower or upper triangular, with diagonal entries of either sign. Use the diagonal alone.


# %% solution="log_abs_det_triangular"
def log_abs_det_triangular(A):
    """log|det A| of triangular matrices, in nats.

    Args:
        A: tensor `(*batch, D, D)`.

    Returns:
        tensor `(*batch,)`.
    """
    ### BEGIN SOLUTION
    diagonal = torch.diagonal(A, dim1=-2, dim2=-1)
    return diagonal.abs().log().sum(-1)
    ### END SOLUTION


# %% test="triangular_log_det_value" points=1
check.triangular_log_det_value(log_abs_det_triangular)
### BEGIN HIDDEN TESTS
check.triangular_log_det_value(log_abs_det_triangular, hidden=1)
### END HIDDEN TESTS

# %% test="triangular_log_det_batch_shapes" points=1
check.triangular_log_det_batch_shapes(log_abs_det_triangular)
### BEGIN HIDDEN TESTS
check.triangular_log_det_batch_shapes(log_abs_det_triangular, hidden=1)
### END HIDDEN TESTS

# %% test="triangular_log_det_large" points=1
check.triangular_log_det_large(log_abs_det_triangular)
### BEGIN HIDDEN TESTS
check.triangular_log_det_large(log_abs_det_triangular, hidden=1)
### END HIDDEN TESTS

# %% test="triangular_log_det_from_diagonal" points=1
check.triangular_log_det_from_diagonal(log_abs_det_triangular)
### BEGIN HIDDEN TESTS
check.triangular_log_det_from_diagonal(log_abs_det_triangular, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: NaN</summary>
#
# A diagonal entry is negative somewhere. $|\det A| = \prod_i |a_{ii}|$.
# </details>
# <details><summary>Help: wrong shape for a batch</summary>
#
# `torch.diagonal(A)` runs along axes 0 and 1. Tell it which two axes make the matrix, counted from the end.
# </details>
# <details><summary>Help: "must not depend on entries beside the diagonal"</summary>
#
# `torch.linalg.slogdet` gives the right number and eliminates the whole matrix for it. Here the structure is known beforehand.
# </details>

# %% [markdown]
# ## 5 · What a determinant costs
#
# Nobody expands in $D!$ terms. Elimination brings a matrix to triangular form in about $\tfrac23 D^3$ operations, and then reads the diagonal: $O(D^3)$. If
# the matrix *is* triangular, what remains is $O(D)$.
#
# **Predict.** On logarithmic axes, what slopes do the two curves have? And for small $D$?


# %%
def seconds(function, repeats=5):
    """The best of several timings: what the machine needs when nothing else interferes."""
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


sizes_full = 2 ** np.arange(1, 11)
sizes_diagonal = 2 ** np.arange(1, 21)
full_times, diagonal_times = [], []
for D in sizes_full.tolist():
    A = torch.randn(D, D, dtype=torch.float64)
    full_times.append(seconds(lambda A=A: torch.linalg.slogdet(A)))
for D in sizes_diagonal.tolist():
    diagonal = torch.rand(D, dtype=torch.float64) + 0.5
    diagonal_times.append(seconds(lambda v=diagonal: v.abs().log().sum()))


def slope(sizes, times, points):
    """Slope of log time against log size over the last `points` sizes."""
    return np.polyfit(np.log(sizes[-points:]), np.log(times[-points:]), 1)[0]


fig, ax = plt.subplots(figsize=(6.4, 4.2))
ax.loglog(sizes_full, np.array(full_times) * 1e3, "o-", color=RED, label="elimination, any matrix")
ax.loglog(
    sizes_diagonal, np.array(diagonal_times) * 1e3, "s-", color=BLUE, label="diagonal, triangular matrix"
)
guide = sizes_full[-4:]
ax.loglog(guide, full_times[-1] * 2.5e3 * (guide / guide[-1]) ** 3.0, "--", color="gray", label="slope 3")
guide = sizes_diagonal[-8:]
ax.loglog(guide, diagonal_times[-1] * 0.4e3 * (guide / guide[-1]), ":", color="gray", label="slope 1")
ax.set(
    xlabel="number of variables $D$", ylabel="time of one log-determinant (ms)", title="What structure saves"
)
ax.legend()
plt.show()

D_image = 32 * 32 * 3
extrapolated = full_times[-1] * (D_image / sizes_full[-1]) ** 3
near = diagonal_times[int(np.argmin(np.abs(sizes_diagonal - D_image)))]
print(
    f"slope over the last sizes: elimination {slope(sizes_full, full_times, 3):.1f}, diagonal {slope(sizes_diagonal, diagonal_times, 5):.1f}"
)
print(
    f"one 32×32 color image, D = {D_image}: elimination about {extrapolated:.2g} s (extrapolated by D³), diagonal {near * 1e6:.0f} µs"
)

# %% [markdown]
# **Figure.** Time of one log-determinant against $D$, both axes logarithmic. Elimination climbs steeply, about as steeply as the dashed line of slope 3. The diagonal
# stays flat for about a thousand variables, where the fixed cost of a call dominates, and then runs along the dotted line of slope 1. The last printed line
# says what that means for one small color image. And this is per example, per layer, per training step, before the cost of making
# the $D \times D$ Jacobian itself: $D$ backward passes.
#
# Hence the plan of most flows: **choose maps whose Jacobian is triangular, up to a reordering.**

# %% [markdown]
# ## 6 · The coupling layer's Jacobian
#
# Here is such a map, the affine coupling layer (Dinh, Sohl-Dickstein & Bengio 2016). Keep the first $d$ variables, scale and shift the others by
# amounts that depend on the kept ones:
#
# $$x_{\le d} = u_{\le d}, \qquad x_{>d} = e^{s(u_{\le d})}\odot u_{>d} + t(u_{\le d}),$$
#
# with functions $s, t : \mathbb R^d \to \mathbb R^{D-d}$, later networks. Notebook 3 implements it; here we want its Jacobian.
#
# **$D = 2$, $d = 1$ by hand.** $x_1 = u_1$ and $x_2 = e^{s(u_1)}u_2 + t(u_1)$. Differentiate each by each:
#
# $$J = \begin{pmatrix} 1 & 0 \\[2pt] s'(u_1)\,e^{s(u_1)}\,u_2 + t'(u_1) & e^{s(u_1)} \end{pmatrix}, \qquad \det J = e^{s(u_1)}.$$
#
# **Predict.** Which entry is missing from $\det J$, although it contains everything that is hard about $s$ and $t$? Now $D = 4$, $d = 2$:
# where are the zeros?
#
# <details><summary>Answer</summary>
#
# The lower left one. For $D = 4$ the same picture holds in blocks of $2\times2$: identity on the upper left, zeros on the upper right, a diagonal
# matrix of $e^{s_1}, e^{s_2}$ on the lower right (moved variable $i$ uses its own $u_i$ and no other moved one), anything on the lower left.
# </details>
#
# Check by machine, with $s$ and $t$ left as unknown functions:

# %%
unknown_s, unknown_t = sp.Function("s"), sp.Function("t")
J2 = symbolic.coupling_jacobian(lambda kept: [unknown_s(*kept)], lambda kept: [unknown_t(*kept)], [u1, u2])
print(sp.pretty(J2))
assert J2.det() == sp.exp(unknown_s(u1))

u = list(sp.symbols("u1:5", real=True))
s_pair = [sp.Function("s1"), sp.Function("s2")]
t_pair = [sp.Function("t1"), sp.Function("t2")]
J4 = symbolic.coupling_jacobian(
    lambda kept: [f(*kept) for f in s_pair], lambda kept: [f(*kept) for f in t_pair], u
)
print("\nD = 4, where the entries vanish:")
print(sp.pretty(J4.applyfunc(lambda e: sp.Integer(0) if e == 0 else sp.Symbol("•"))))
print("log det J =", sp.expand_log(sp.log(J4.det()), force=True))

# %% [markdown]
# ### Exercise 9 · The coupling Jacobian and its log-determinant
#
# Difficulty 3/5 (bookkeeping) · about 15 minutes · 4 points
#
# Two functions. `u` is a list of $D \ge 2$ symbols; the first $d = \lfloor D/2\rfloor$ are kept. `s` and `t` are Python functions: each takes the **list of kept
# symbols** and returns a **list of** $D-d$ **expressions**.
#
# `coupling_jacobian` returns the whole matrix. `coupling_log_det` returns $\log|\det J|$, and should not need the matrix at all.


# %% solution="coupling_jacobian"
def coupling_jacobian(s, t, u):
    """∂x/∂u of x = (u_kept, exp(s(u_kept))⊙u_moved + t(u_kept)).

    Args:
        s, t: functions, list of d kept symbols → list of D − d expressions.
        u: list of D symbols, the first d = D // 2 are kept.

    Returns:
        sympy Matrix (D, D), J[i, j] = ∂x_i/∂u_j.
    """
    ### BEGIN SOLUTION
    d = len(u) // 2
    kept, moved = u[:d], u[d:]
    stretched = [sp.exp(si) * ui + ti for si, ui, ti in zip(s(kept), moved, t(kept), strict=True)]
    return sp.Matrix([*kept, *stretched]).jacobian(u)
    ### END SOLUTION


# %% test="coupling_jacobian_two_variables" points=1
check.coupling_jacobian_two_variables(coupling_jacobian)
### BEGIN HIDDEN TESTS
check.coupling_jacobian_two_variables(coupling_jacobian, hidden=1)
### END HIDDEN TESTS

# %% test="coupling_jacobian_four_variables" points=2
check.coupling_jacobian_four_variables(coupling_jacobian)
### BEGIN HIDDEN TESTS
check.coupling_jacobian_four_variables(coupling_jacobian, hidden=1)
### END HIDDEN TESTS


# %% solution="coupling_log_det"
def coupling_log_det(s, t, u):
    """log|det ∂x/∂u| of the same layer, an expression.

    Args:
        s, t: functions, list of d kept symbols → list of D − d expressions.
        u: list of D symbols, the first d = D // 2 are kept.
    """
    ### BEGIN SOLUTION
    kept = u[: len(u) // 2]
    return sum(s(kept))
    ### END SOLUTION


# %% test="coupling_log_det_value" points=1
check.coupling_log_det_value(coupling_log_det)
### BEGIN HIDDEN TESTS
check.coupling_log_det_value(coupling_log_det, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Write down the list of all $D$ outputs $x$, kept ones first, as expressions in `u`. Then it is Exercise 1.
# </details>
# <details><summary>Help: the lower left block is wrong</summary>
#
# Both $s$ and $t$ depend on the kept variables. The product rule on $e^{s}u$ gives a term with $s$, too.
# </details>
# <details><summary>Help: the log-determinant, formula</summary>
#
# The diagonal is $1,\dots,1,e^{s_1},\dots,e^{s_{D-d}}$. The logarithm of its product is a sum of what?
# </details>

# %% [markdown]
# ## 7 · Permutations: a determinant of plus or minus one
#
# A coupling layer leaves $d$ variables untouched. A second one must move those, so the variables are reordered in between. `order` lists, for each
# place $i$ of $x$, which variable of $u$ comes there:
#
# $$x_i = u_{\mathrm{order}[i]}, \qquad J = P, \quad P_{ij} = 1 \text{ if } j = \mathrm{order}[i], \text{ else } 0.$$
#
# Each row and each column of $P$ holds one 1. Swapping two rows flips the sign of a determinant, and finitely many swaps turn $P$ into the identity. So $\det P = +1$ for an even number
# of swaps and $-1$ for an odd one. In both cases **$|\det P| = 1$ and $\log|\det P| = 0$**: a permutation moves no volume.
#
# **Predict.** Swapping two variables mirrors the plane at its diagonal. Reordering $(1,2,3) \to (2,3,1)$: a mirror image or a rotation of space?

# %%
for order in ([0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0]):
    P = torch.eye(3, dtype=torch.float64)[order]
    sign, log_abs = torch.linalg.slogdet(P)
    print(f"order {order}: det = {sign.item():+.0f}, log|det| = {log_abs.item():.0f}")

# %% [markdown]
# A cycle of three is two swaps: a rotation. Note what goes wrong if a layer takes `P.det().log()`: NaN for every odd permutation. And note what the inverse is:
# $P^{-1} = P^\top$, another permutation, the one that sends every variable home. It is the same as `order` for a swap, and not for a cycle.
#
# ### Exercise 10 · A permutation layer
#
# Difficulty 2/5 (the inverse is the point) · about 10 minutes · 4 points
#
# `order` is a list of integers, each of $0,\dots,D-1$ once. Index the last axis, so that any batch shape works.


# %% solution="Permutation"
class Permutation(nn.Module):
    """x[..., i] = u[..., order[i]].

    Args:
        order: list of D integers, a permutation of 0, …, D − 1.
    """

    def __init__(self, order):
        super().__init__()
        ### BEGIN SOLUTION
        self.register_buffer("order", torch.as_tensor(order))
        self.register_buffer("inverse_order", torch.argsort(self.order))  # inverse_order[order[i]] = i
        ### END SOLUTION

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        return u[..., self.order], u.new_zeros(u.shape[:-1])
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        return x[..., self.inverse_order], x.new_zeros(x.shape[:-1])
        ### END SOLUTION


# %% test="permutation_reorders_variables" points=1
check.permutation_reorders_variables(Permutation)
### BEGIN HIDDEN TESTS
check.permutation_reorders_variables(Permutation, hidden=1)
### END HIDDEN TESTS

# %% test="permutation_inverse_undoes_forward" points=1
check.permutation_inverse_undoes_forward(Permutation)
### BEGIN HIDDEN TESTS
check.permutation_inverse_undoes_forward(Permutation, hidden=1)
### END HIDDEN TESTS

# %% test="permutation_preserves_volume" points=1
check.permutation_preserves_volume(Permutation)
### BEGIN HIDDEN TESTS
check.permutation_preserves_volume(Permutation, hidden=1)
### END HIDDEN TESTS

# %% test="permutation_batch_shapes" points=1
check.permutation_batch_shapes(Permutation)
### BEGIN HIDDEN TESTS
check.permutation_batch_shapes(Permutation, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the round trip works for [1, 0, 2] and not for [1, 2, 0]</summary>
#
# A swap is its own inverse, a cycle is not. Which place does variable $j$ have in `order`? `torch.argsort` answers that for all $j$ at once.
# </details>
# <details><summary>Help: log_det has the wrong shape</summary>
#
# One zero per example: for an input of shape `(*batch, D)` that is `u.shape[:-1]`.
# </details>
#
# ### Triangular times permuted is full
#
# Put sections 3, 6 and 7 together: coupling, permutation, coupling, for $D = 8$. Every factor is sparse.
#
# **Predict.** Is the product sparse, too? And what does its log-determinant cost?

# %%
D = 8
keep_first = torch.tensor([1.0] * 4 + [0.0] * 4)


def random_coupling():
    nets = [flowlib.mlp([D, 16, D], activation=nn.Tanh) for _ in range(2)]
    return flowlib.MaskedCouplingLayer(*nets, keep_first).double()


layers = [random_coupling(), flowlib.Permutation([4, 5, 6, 7, 0, 1, 2, 3]), random_coupling()]
point, total, factors = torch.randn(1, D, dtype=torch.float64), 0.0, []
product = torch.eye(D, dtype=torch.float64)
with torch.no_grad():
    for layer in layers:
        J = flowlib.batch_jacobian(lambda v, layer=layer: layer(v)[0], point)[
            0
        ]  # at the point that the layer receives
        factors.append(J)
        product = J @ product
        point, log_det = layer(point)
        total += log_det.item()

fig, axes = plt.subplots(1, 4, figsize=(11, 3.1))
for ax, matrix, title in zip(
    axes, [*factors, product], ("coupling", "permutation", "coupling", "all three"), strict=True
):
    ax.imshow((matrix.abs() > 1e-12), cmap="Greys", vmin=0, vmax=1.6)
    ax.set(title=title, xlabel="input $j$", xticks=[], yticks=[])
axes[0].set_ylabel("output $i$")
plt.show()
print(f"sum of the layers' log-dets: {total:.12f}")
print(f"slogdet of the product:      {torch.linalg.slogdet(product)[1].item():.12f}")

# %% [markdown]
# **Figure.** Where the Jacobians of three layers and of their composition have entries other than zero (dark). The couplings: a diagonal and a full lower left block.
# The permutation: one entry per row, the halves exchanged. The product of the three has three full blocks; one more permutation and coupling would fill the last one. Its log-determinant is
# still the sum of the layers' cheap ones, and agrees with the elimination to all printed digits. That is the trade of flows: **each factor is cheap, and their product is rich.**

# %% [markdown]
# ## 8 · Rosenblatt's map: every density is a triangular flow
#
# Notebook 1 turned uniform numbers into samples of any one-dimensional density: $x = F^{-1}(u)$. In several dimensions? Go **one variable after the other**
# (Rosenblatt 1952). Factor the density by the product rule,
#
# $$p(x_1, x_2) = p(x_1)\; p(x_2 \mid x_1),$$
#
# and use two distribution functions: $F_1$ of $x_1$ alone, and $F_2(\,\cdot \mid x_1)$ of $x_2$ once $x_1$ is known:
#
# $$u_1 = F_1(x_1) = \int_{-\infty}^{x_1} p(v)\,\mathrm dv, \qquad u_2 = F_2(x_2\mid x_1) = \int_{-\infty}^{x_2} p(v\mid x_1)\,\mathrm dv.$$
#
# This is `inverse`, data to base. To sample, invert one equation at a time: $x_1 = F_1^{-1}(u_1)$, and with that $x_2 = F_2^{-1}(u_2\mid x_1)$.
#
# **Why is $u$ uniform?** $u_1$ does not see $x_2$, so the Jacobian $\partial u/\partial x$ is triangular, and its diagonal holds the derivatives of distribution functions, which are densities:
#
# $$\frac{\partial u}{\partial x} = \begin{pmatrix} p(x_1) & 0 \\ * & p(x_2\mid x_1)\end{pmatrix},
# \qquad \Bigl|\det\frac{\partial u}{\partial x}\Bigr| = p(x_1)\,p(x_2\mid x_1) = p(x).$$
#
# By change of variables $p_u(u) = p(x)\,/\,|\det \partial u/\partial x| = 1$ on the unit square. Read backwards: **with a uniform base, the log-determinant of the inverse is the log-density.**
#
# ### By hand: the uniform density on a triangle
#
# Let $p(x) = 2$ where $0 < x_2 < x_1 < 1$.
#
# 1. Marginal: $p(x_1) = \int_0^{x_1} 2\,\mathrm dx_2 = 2x_1$, so $F_1(x_1) = x_1^2$.
# 2. Conditional: $p(x_2\mid x_1) = 2/(2x_1) = 1/x_1$ on $(0, x_1)$, so $F_2(x_2\mid x_1) = x_2/x_1$.
# 3. Solve: $x_1 = \sqrt{u_1}$, $x_2 = x_1 u_2$. Note that the second line uses $x_1$, which the first one has made.
#
# Check by machine:

# %%
v1, v2 = sp.symbols("v1 v2", positive=True)
triangle_forward = [sp.sqrt(v1), sp.sqrt(v1) * v2]
J_triangle = sp.simplify(symbolic.jacobian_matrix(triangle_forward, [v1, v2]))
print(sp.pretty(J_triangle))
print("det ∂x/∂u =", sp.simplify(J_triangle.det()), "= 1 / p(x)")
assert sp.simplify(J_triangle.det()) == sp.Rational(1, 2)


# %%
def to_triangle(u):
    """Forward map of the uniform density on the triangle 0 < x2 < x1 < 1, with its log_det."""
    x1 = torch.sqrt(u[..., 0])
    return torch.stack([x1, x1 * u[..., 1]], dim=-1), torch.full_like(x1, -math.log(2))


uniform = torch.rand(600, 2)
fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.1))
for ax, move, letter in zip(axes, (lambda u: (u, None), to_triangle), "ux", strict=True):
    title = "base: uniform on the square" if letter == "u" else "data: uniform on a triangle"
    labels = {"xlabel": f"${letter}_1$", "ylabel": f"${letter}_2$"}
    plotting.plot_warped_grid(ax, move, extent=(0.0, 1.0, 0.0, 1.0), lines=9, title=title, **labels)
    dots = move(uniform)[0]
    ax.plot(dots[:, 0], dots[:, 1], ".", color="black", markersize=2)
plt.show()
errors = verify.log_det_error(
    verify.on_arrays(to_triangle), np.random.default_rng(0).uniform(0.1, 0.9, (50, 2))
)
print(f"log_det against central differences: largest error {errors:.1e}")

# %% [markdown]
# **Figure.** Left: the unit square with a square grid and 600 uniform points. Right: their images in the triangle below the diagonal. Vertical lines stay vertical, since $x_1$ depends on $u_1$ alone;
# horizontal lines become rays from the origin. Each cell changes its shape, and each has half the area it had: so the points are uniform again, at density 2.
#
# **Predict.** The order of the variables was a choice. Does starting with $x_2$ give the same map?
#
# <details><summary>Answer</summary>
#
# No: another triangular map (upper triangular), to the same density. $x_2$ alone has density $2(1-x_2)$, so $x_2 = 1-\sqrt{1-u_2}$ and $x_1 = x_2 + (1-x_2)u_1$. Given an order and increasing
# distribution functions, the map is unique. The order matters for how *simple* it is.
# </details>
#
# ### Exercise 11 · The two distribution functions
#
# Difficulty 2/5 (two integrals) · about 10 minutes · 2 points
#
# `p` is a sympy expression in `x1` and `x2`, a density on the **unit square** $(0,1)^2$. Return the list $[F_1(x_1),\; F_2(x_2\mid x_1)]$.


# %% solution="rosenblatt_cdfs"
def rosenblatt_cdfs(p, x1, x2):
    """Distribution functions of Rosenblatt's map, x1 first, for a density on the unit square.

    Args:
        p: density, an expression in x1 and x2 on (0, 1)².
        x1, x2: real symbols.

    Returns:
        list [F1, F2] of expressions: F1 in x1, F2 in x1 and x2.
    """
    ### BEGIN SOLUTION
    a = sp.Symbol("a", real=True)  # the variable of integration
    marginal = sp.integrate(p, (x2, 0, 1))
    F1 = sp.integrate(marginal.subs(x1, a), (a, 0, x1))
    F2 = sp.integrate(p.subs(x2, a), (a, 0, x2)) / marginal
    return [F1, F2]
    ### END SOLUTION


# %% test="rosenblatt_first_cdf" points=1
check.rosenblatt_first_cdf(rosenblatt_cdfs)
### BEGIN HIDDEN TESTS
check.rosenblatt_first_cdf(rosenblatt_cdfs, hidden=1)
### END HIDDEN TESTS

# %% test="rosenblatt_second_cdf" points=1
check.rosenblatt_second_cdf(rosenblatt_cdfs)
### BEGIN HIDDEN TESTS
check.rosenblatt_second_cdf(rosenblatt_cdfs, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: how do I integrate up to x1 when x1 is also the variable?</summary>
#
# Give the variable of integration a name of its own: substitute `x1` by a new symbol `a`, then `sp.integrate(…, (a, 0, x1))`.
# </details>
# <details><summary>Help: F2 does not reach 1 at x2 = 1</summary>
#
# $p(x_2\mid x_1) = p(x_1,x_2)/p(x_1)$: divide by the marginal of $x_1$.
# </details>
#
# ### Exercise 12 · Rosenblatt's map by hand
#
# Difficulty 4/5 (two quadratic equations) · about 20 minutes · 5 points
#
# The density is $p(x_1, x_2) = x_1 + x_2$ on the unit square. With pencil and paper (or Exercise 11):
#
# 1. find $F_1(x_1)$ and $F_2(x_2\mid x_1)$, and write `rosenblatt_inverse`, data to base;
# 2. solve $u_1 = F_1(x_1)$ for $x_1$ and $u_2 = F_2(x_2\mid x_1)$ for $x_2$, and write `rosenblatt_forward`, base to data.
#
# Both return the point and the log-determinant of **their own** direction, for any shape `(*batch, 2)`.


# %% solution="rosenblatt_inverse"
def rosenblatt_inverse(x):
    """Data to base for p(x1, x2) = x1 + x2 on the unit square, x1 first.

    Args:
        x: tensor `(*batch, 2)`.

    Returns:
        (u `(*batch, 2)`, log|det ∂u/∂x| `(*batch,)`).
    """
    ### BEGIN SOLUTION
    x1, x2 = x[..., 0], x[..., 1]
    u1 = (x1**2 + x1) / 2
    u2 = (x1 * x2 + x2**2 / 2) / (x1 + 0.5)
    return torch.stack([u1, u2], dim=-1), torch.log(x1 + x2)
    ### END SOLUTION


# %% test="rosenblatt_inverse_values" points=1
check.rosenblatt_inverse_values(rosenblatt_inverse)
### BEGIN HIDDEN TESTS
check.rosenblatt_inverse_values(rosenblatt_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="rosenblatt_inverse_log_det" points=1
check.rosenblatt_inverse_log_det(rosenblatt_inverse)
### BEGIN HIDDEN TESTS
check.rosenblatt_inverse_log_det(rosenblatt_inverse, hidden=1)
### END HIDDEN TESTS


# %% solution="rosenblatt_forward"
def rosenblatt_forward(u):
    """Base to data for p(x1, x2) = x1 + x2 on the unit square, x1 first.

    Args:
        u: tensor `(*batch, 2)`, entries in (0, 1).

    Returns:
        (x `(*batch, 2)`, log|det ∂x/∂u| `(*batch,)`).
    """
    ### BEGIN SOLUTION
    u1, u2 = u[..., 0], u[..., 1]
    x1 = (torch.sqrt(1 + 8 * u1) - 1) / 2
    x2 = torch.sqrt(x1**2 + (2 * x1 + 1) * u2) - x1
    return torch.stack([x1, x2], dim=-1), -torch.log(x1 + x2)
    ### END SOLUTION


# %% test="rosenblatt_forward_values" points=1
check.rosenblatt_forward_values(rosenblatt_forward)
### BEGIN HIDDEN TESTS
check.rosenblatt_forward_values(rosenblatt_forward, hidden=1)
### END HIDDEN TESTS

# %% test="rosenblatt_forward_log_det" points=1
check.rosenblatt_forward_log_det(rosenblatt_forward)
### BEGIN HIDDEN TESTS
check.rosenblatt_forward_log_det(rosenblatt_forward, hidden=1)
### END HIDDEN TESTS

# %% test="rosenblatt_batch_shapes" points=1
check.rosenblatt_batch_shapes(rosenblatt_forward, rosenblatt_inverse)
### BEGIN HIDDEN TESTS
check.rosenblatt_batch_shapes(rosenblatt_forward, rosenblatt_inverse, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the two distribution functions</summary>
#
# The marginal is $p(x_1) = x_1 + \tfrac12$. So $F_1 = (x_1^2 + x_1)/2$ and $F_2 = (x_1x_2 + x_2^2/2)/(x_1 + \tfrac12)$.
# </details>
# <details><summary>Help: which root?</summary>
#
# $x_1^2 + x_1 - 2u_1 = 0$ has one positive and one negative root. For $x_2$: complete the square, $(x_2 + x_1)^2 = x_1^2 + (2x_1+1)u_2$.
# </details>
# <details><summary>Help: the log-determinant of forward</summary>
#
# You need not differentiate the square roots. What does the inverse function theorem say, and at which point do you evaluate it?
# </details>
#
# ### The bridge to everything later
#
# Replace the uniform base by a Gaussian one: $u_i \sim \mathcal N(0,1)$, then $\Phi(u_i)$ is uniform, with $\Phi$ the distribution function of $\mathcal N(0,1)$. Write $x_{<i}$ for the variables before the $i$-th. The map $x_i = F_i^{-1}(\Phi(u_i)\mid x_{<i})$ is still
# triangular and increasing in each $u_i$. Suppose now that $x_1 \sim \mathcal N(0,1)$ and that $x_2$ given $x_1$ is Gaussian with mean $t(x_1)$ and standard deviation $e^{s(x_1)}$. Then
#
# $$x_1 = u_1, \qquad x_2 = F_2^{-1}(\Phi(u_2)\mid x_1) = e^{s(x_1)}\,u_2 + t(x_1):$$
#
# **Rosenblatt's map is the coupling layer.** Check with $t(x_1) = x_1^2 - 1$ and $s(x_1) = \tfrac12 \sin x_1 - 1$:


# %%
def banana(u):
    """A coupling layer by hand: x1 = u1, x2 = exp(s(u1))·u2 + t(u1), with its log_det."""
    u1, u2 = u[..., 0], u[..., 1]
    s, t = 0.5 * torch.sin(u1) - 1, u1**2 - 1
    return torch.stack([u1, s.exp() * u2 + t], dim=-1), s


points = torch.randn(1000, 2, dtype=torch.float64)
x_coupling, log_det = banana(points)
x_1 = points[:, 0]
conditional = Normal(x_1**2 - 1, torch.exp(0.5 * torch.sin(x_1) - 1))
x_rosenblatt = conditional.icdf(Normal(0.0, 1.0).cdf(points[:, 1]))
print(
    f"coupling layer against Rosenblatt's formula: largest difference {(x_coupling[:, 1] - x_rosenblatt).abs().max():.1e}"
)


def banana_log_prob(x):
    """log p(x1) + log p(x2 given x1), `(N, 2)` → `(N,)`."""
    first, second = x[..., 0], x[..., 1]
    return Normal(0.0, 1.0).log_prob(first) + Normal(
        first**2 - 1, torch.exp(0.5 * torch.sin(first) - 1)
    ).log_prob(second)


by_flow = Normal(0.0, 1.0).log_prob(points).sum(-1) - log_det
print(
    f"density by change of variables against the product of conditionals: {(by_flow - banana_log_prob(x_coupling)).abs().max():.1e}"
)

fig, axes = plt.subplots(1, 2, figsize=(8, 5.2), sharey=True)
plotting.plot_warped_grid(
    axes[0],
    banana,
    extent=(-2.0, 2.0, -2.0, 2.0),
    lines=9,
    title="a square grid under the map",
    xlabel="$x_1$",
    ylabel="$x_2$",
)
extent = (-2.5, 2.5, -2.2, 4.6)
axes[0].set(xlim=extent[:2], ylim=extent[2:])
plotting.plot_density(
    axes[1],
    banana_log_prob,
    extent,
    title="the density it makes of a Gaussian",
    xlabel="$x_1$",
    ylabel="",
)
plt.show()

# %% [markdown]
# **Figure.** Both panels show the same window. Left: a square grid, four units wide, under a coupling layer by hand. Vertical lines stay vertical and are shifted and stretched along themselves; horizontal lines bend nearly
# into parabolas. Right: the density that results from a Gaussian base, a crescent, brightest along $x_2 = x_1^2 - 1$. Both printed differences are rounding.
#
# Three families of flows are now in sight, all triangular:
#
# | | uses for variable $i$ | Jacobian | price |
# |---|---|---|---|
# | Rosenblatt's map | the exact $F_i(\cdot\mid x_{<i})$ | triangular | exact, and known for few densities |
# | autoregressive flow | a learned increasing map, given all of $x_{<i}$ | triangular | one direction is sequential, $D$ steps |
# | coupling layer | a learned increasing map, given the kept half | block-triangular | both directions in one step, weaker per layer |
#
# Rosenblatt's argument says that a triangular map to *every* density with continuous conditionals exists. It does not say that it is easy to learn: that is the subject of the rest of the course.

# %% [markdown]
# ## Key points
#
# - $|\det J_T(u)|$ is the factor by which $T$ changes small volumes at $u$. Density is divided by it.
# - $J_{T^{-1}}(x) = J_T(u)^{-1}$, a matrix inverse, with $x = T(u)$: log-determinants of the two directions differ in sign and live at different points.
# - Along a composition log-determinants add, each taken where the previous map arrived.
# - A triangular determinant is the product of its diagonal: $O(D)$ instead of $O(D^3)$. Sum logarithms, never form the product.
# - A coupling layer has Jacobian $\begin{pmatrix} I & 0\\ * & \operatorname{diag}(e^s)\end{pmatrix}$ and log-determinant $\sum s$. A permutation has determinant $\pm1$ and log-determinant 0.
# - Rosenblatt: one variable after the other, every density is a triangular map of the uniform one, and the log-determinant of the way back is the log-density.
#
# **Common mistakes**: a transposed Jacobian, which every determinant hides · $1/J_{ij}$ for the inverse · the second Jacobian at $u$ instead of $T_1(u)$ · the logarithm of a product that underflows · a negative diagonal entry without
# $|\cdot|$ · `torch.diagonal` without its axes · an inverse permutation that reuses `order` · conditioning on $u_1$ where $x_1$ belongs.
#
# ## References
#
# - M. Rosenblatt, *Remarks on a multivariate transformation*, Annals of Mathematical Statistics 23, 1952.
# - L. Dinh, D. Krueger, Y. Bengio, *NICE: Non-linear Independent Components Estimation*, 2014, arXiv:1410.8516.
# - L. Dinh, J. Sohl-Dickstein, S. Bengio, *Density estimation using Real NVP*, 2016, arXiv:1605.08803.
# - G. Papamakarios, E. Nalisnick, D. J. Rezende, S. Mohamed, B. Lakshminarayanan, *Normalizing Flows for Probabilistic Modeling and Inference*, 2021, arXiv:1912.02762 (section 2.2: the triangular construction).
