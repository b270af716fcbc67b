# %% [markdown]
# # 7 · Autoregressive flows: MAF, IAF, and a student who listens
#
# A coupling layer lets half of the variables decide about the other half. Why only half? Let **every** variable be decided
# by all those before it. The Jacobian stays triangular, the layer becomes as expressive as a triangular map can be, and
# something has to be paid: one of its two directions must now be walked step by step. Which of them is yours to choose. This
# notebook builds both choices, measures what they cost, and ends with a trick that has the cheap side of each.
#
# **You will be able to**
# - turn the chain rule of probability into an invertible map, and say why its log-determinant is a sum;
# - build a masked network (MADE) that gives all D conditionals at once, and in which nobody looks ahead;
# - use it for binary data, where there is a likelihood and no flow;
# - implement a masked autoregressive (MAF) and an inverse autoregressive (IAF) layer, and say which direction of each is slow;
# - count the passes of any pattern of dependencies, and recognize a coupling layer as one that takes two;
# - distill a MAF teacher into an IAF student, as Parallel WaveNet does, and say what the student may lose.
#
# **Time:** about 60 minutes of reading, 115 minutes of exercises.
# **Needs:** notebooks 1 to 3 (change of variables, triangular determinants, coupling layers and flows); notebook 4 (the divergence KL) for
# section 8.

# %%
import itertools
import math
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from autograder_tests.checks import autoregressive_flows as check
from flowlib import data, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(7)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $u$ | `(*batch, D)` | base variable, $u \sim p_u = \mathcal N(0, I)$ |
# | $x = T(u)$ | `(*batch, D)` | data variable |
# | $x_i$ | `(*batch,)` | the $i$-th variable, $i = 1, \dots, D$; in code the index starts at 0 |
# | $x_{<i}$ | `(*batch, i − 1)` | the variables before it, $(x_1, \dots, x_{i-1})$ |
# | $s_i, t_i$ | `(*batch,)` | log-scale and translation of variable $i$; all of them together are $s, t$, `(*batch, D)` |
# | $J$, $J_{ij} = \partial x_i/\partial u_j$ | `(*batch, D, D)` | Jacobian |
# | $M$ | `(outputs, inputs)` | mask of a layer of weights, zeros and ones |
#
# **Direction, here and everywhere in the course:** `forward` goes from base to data and returns
# $(x, \log|\det \partial x/\partial u|)$. `inverse` goes from data to base and returns
# $(u, \log|\det \partial u/\partial x|)$. Sampling needs `forward`, density needs `inverse`. Every log-determinant is one number per
# example, `(*batch,)`, in nats.
#
# Keep this in mind where papers and blogs disagree. "Input" and "output" are words that depend on where the author stands. *Base* and *data* are not.

# %% [markdown]
# ## 1 · The chain rule is a flow
#
# Every density of $D$ variables is a product of conditionals, whatever order the variables are put in:
#
# $$p(x) = \prod_{i=1}^{D} p(x_i \mid x_{<i}).$$
#
# No assumption has been made yet. A *model* says what form a conditional has. Take Gaussians, whose mean and scale are functions of the variables before:
#
# $$p(x_i \mid x_{<i}) = \mathcal N\bigl(x_i;\; t_i(x_{<i}),\; e^{2 s_i(x_{<i})}\bigr).$$
#
# How would you draw from it? First $x_1$. Then $x_2$, whose mean and scale you now know. Then $x_3$. This is **ancestral sampling**. With a standard
# normal $u_i$ for each variable, a draw reads
#
# $$x_i = u_i\, e^{s_i(x_{<i})} + t_i(x_{<i}), \qquad i = 1, \dots, D .$$
#
# That is a map from $u$ to $x$. It takes standard normal noise to data. So a Gaussian autoregressive model **is a flow**, and its `forward` is ancestral sampling.
#
# **Predict.** What does its Jacobian look like, and what is its log-determinant?
#
# <details><summary>Answer</summary>
#
# $x_i$ is made of $u_i$ and of $x_{<i}$, and those are made of $u_{<i}$. So $\partial x_i/\partial u_j = 0$ for $j > i$: lower triangular. On the diagonal
# $\partial x_i/\partial u_i = e^{s_i}$. Therefore $\log|\det J| = \sum_i s_i$.
# </details>
#
# By machine, for $D = 3$ with unknown functions:

# %%
u1, u2, u3 = u_symbols = sp.symbols("u1:4", real=True)
s1, t1 = sp.symbols("s1 t1", real=True)  # functions of nothing: constants
s2, t2, s3, t3 = (sp.Function(name, real=True) for name in ("s2", "t2", "s3", "t3"))
x1 = u1 * sp.exp(s1) + t1
x2 = u2 * sp.exp(s2(x1)) + t2(x1)
x3 = u3 * sp.exp(s3(x1, x2)) + t3(x1, x2)
J = sp.Matrix([x1, x2, x3]).jacobian(u_symbols)
assert J.is_lower
diagonal = [J[i, i] for i in range(3)]
assert sp.simplify(math.prod(diagonal) - sp.exp(s1 + s2(x1) + s3(x1, x2))) == 0
print("above the diagonal:", [J[i, j] for i in range(3) for j in range(i + 1, 3)])
print("on the diagonal:   ", diagonal)

# %% [markdown]
# Two ways of writing the same density must then agree: the product of Gaussian conditionals, and the change of variables
# $\log p_u(u) - \sum_i s_i$. A two-dimensional example that no Gaussian can imitate: $x_1$ is standard normal, $x_2$ follows a parabola and is
# noisier on the right.

# %%


class Parabola(nn.Module):
    """s and t of an autoregressive model of two variables: x `(*batch, 2)` → s, t `(*batch, 2)` each."""

    def forward(self, x):
        nothing, x_1 = torch.zeros_like(x[..., 0]), x[..., 0]
        s = torch.stack([nothing, -1.2 + 0.6 * x_1], dim=-1)
        t = torch.stack([nothing, 0.8 * x_1**2 - 1], dim=-1)
        return s, t


parabola = Parabola()


def ancestral(u):
    """x_1 first, then x_2: u `(*batch, 2)` → (x, log|det ∂x/∂u|)."""
    s, t = parabola(torch.zeros_like(u))
    x_1 = u[..., 0] * s[..., 0].exp() + t[..., 0]
    s, t = parabola(torch.stack([x_1, torch.zeros_like(x_1)], dim=-1))
    return u * s.exp() + t, s.sum(-1)


u = torch.randn(2000, 2, dtype=torch.float64)
x, log_det = ancestral(u)
s, t = parabola(x)
chain_rule = Normal(t, s.exp()).log_prob(x).sum(-1)
change_of_variables = Normal(0.0, 1.0).log_prob(u).sum(-1) - log_det
print(f"largest difference of the two log-densities: {(chain_rule - change_of_variables).abs().max():.1e}")
J = flowlib.batch_jacobian(lambda u: ancestral(u)[0], u[:5])
print("entry above the diagonal of five Jacobians:", J[:, 0, 1].tolist())

figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
plotting.plot_warped_grid(
    axes[0], lambda u: (u, None), extent=(-2, 2, -2, 2), title="base: a grid", xlabel="$u_1$", ylabel="$u_2$"
)
plotting.plot_warped_grid(
    axes[1], ancestral, extent=(-2, 2, -2, 2), title="its image", xlabel="$x_1$", ylabel="$x_2$"
)
plotting.plot_samples(axes[2], x, title="ancestral samples", xlabel="$x_1$", ylabel="$x_2$")
axes[2].set(xlim=(-2.8, 2.8), ylim=(-3, 5))
plt.show()

# %% [markdown]
# **Figure.** Left: a square grid in the plane of $u$. Middle: its image. Lines of constant $u_1$ are still vertical, since $x_1$ depends on $u_1$ alone; the others have
# become parabolas, close together on the left and far apart on the right. Right: 2000 samples on the parabola, spreading toward the right. What a
# triangular map cannot do is visible, too: a vertical line never bends.
#
# ### The Gaussian case: Cholesky
#
# Let all $s_i$ be constants and all $t_i$ linear. Then $x$ is Gaussian, and every Gaussian $\mathcal N(0, \Sigma)$ comes out this way: with the Cholesky factor
# $\Sigma = LL^\top$, `(D, D)`, lower triangular, $x = Lu$. There are two ways to write the same row:
#
# $$x_i = L_{ii}\, u_i + \sum_{j<i} L_{ij}\, u_j \qquad\text{or}\qquad x_i = L_{ii}\, u_i + \sum_{j<i} A_{ij}\, x_j .$$
#
# The first looks back at the **base** variables, the second at the **data**. Let $\operatorname{diag}(L)$ be the diagonal matrix with the diagonal of $L$. The second row reads $x = \operatorname{diag}(L)\,u + Ax$; insert
# $u = L^{-1}x$ to find $A = I - \operatorname{diag}(L)\,L^{-1}$, `(D, D)`, strictly lower triangular. Remember these two ways. They are the whole difference between the two layers of this notebook, IAF and MAF.

# %%
Sigma = torch.tensor([[1.0, 0.8, -0.3], [0.8, 2.0, 0.4], [-0.3, 0.4, 1.5]], dtype=torch.float64)
L = torch.linalg.cholesky(Sigma)
A = torch.eye(3) - L.diagonal().diag() @ torch.linalg.inv(L)
u = torch.randn(1000, 3, dtype=torch.float64)
by_base = u @ L.T  # all rows at once
by_data = torch.zeros_like(u)
for i in range(3):  # row by row: row i needs those before it
    by_data[:, i] = L[i, i] * u[:, i] + by_data @ A[i]
print("A strictly lower triangular:", torch.allclose(A, A.tril(-1), atol=1e-15))
print("both ways give the same x:  ", torch.allclose(by_base, by_data))

# %% [markdown]
# ## 2 · One network for all conditionals: MADE
#
# With $D$ conditionals, do we need $D$ networks? One is enough, if output $i$ is cut off from all inputs but $x_{<i}$. MADE (*masked autoencoder for distribution estimation*, Germain et al. 2015) does that with **masks**: it
# takes an ordinary perceptron and multiplies each weight matrix, entry by entry, by a matrix of zeros and ones.
#
# The recipe. Give every unit a **degree**.
#
# - Input $j$ has degree $j$; so has output $j$.
# - A hidden unit has a degree $m \in \{1, \dots, D-1\}$, to be read as: *I know of $x_1, \dots, x_m$ at most.*
#
# A hidden unit may listen to units below it that know no more than itself. Output $i$ may listen only to units that know **less**:
#
# $$M_{\text{unit},\,\text{below}} = [\,m_{\text{unit}} \ge m_{\text{below}}\,], \qquad M_{i,\,\text{below}} = [\, i > m_{\text{below}}\,].$$
#
# Here $[\cdot]$ is 1 where the condition holds and 0 elsewhere. The weights $W$ of a layer have shape `(outputs, inputs)`, and so has its mask $M$. Fed $v$, `(*batch, inputs)`, with a bias $\beta$, `(outputs,)`, the layer computes $(M \odot W)\,v + \beta$.
#
# **Predict.** The product of all masks, last times … times first, is a matrix $P$, `(D, D)`. $P_{ij}$ counts the paths from input $j$ to output $i$. Which of its entries must be 0? Which
# should better not be?
#
# <details><summary>Answer</summary>
#
# Along a path degrees never fall, and the last step rises. So a path from $j$ to $i$ needs $j < i$: $P$ is **strictly** lower triangular. Below the diagonal no entry should be 0, or a
# conditional misses a variable that it may look at. For $P_{i,i-1} > 0$ every hidden layer needs a unit of degree exactly $i - 1$: all of $1, \dots, D - 1$ must occur.
# </details>
#
# ### Exercise 1 · The masks
#
# Difficulty 2/5 (easy once the degrees are clear) · about 12 minutes · 4 points
#
# `made_masks(D, hidden)` returns the masks of a network with `D` inputs, hidden layers of widths `hidden`, and `D` outputs: a list of `len(hidden) + 1` tensors of zeros and ones, each
# `(outputs, inputs)`. Which hidden unit has which degree is yours to choose, as long as a wide layer has all of $1, \dots, D - 1$. With `D = 1` there is no such degree: give all hidden units degree 1, and the only output sees nothing.


# %% solution="made_masks"
def made_masks(D, hidden):
    """Masks of a MADE: a list of float tensors, shapes (hidden[0], D), (hidden[1], hidden[0]), …, (D, hidden[-1]).

    Args:
        D: number of variables, at least 1.
        hidden: widths of the hidden layers, at least one.
    """
    ### BEGIN SOLUTION
    variables = below = torch.arange(1, D + 1)
    masks = []
    for width in hidden:
        above = 1 + torch.arange(width) % max(1, D - 1)  # 1, 2, …, D − 1, 1, 2, …
        masks.append((above[:, None] >= below).float())
        below = above
    return [*masks, (variables[:, None] > below).float()]
    ### END SOLUTION


# %% test="masks_have_the_layers_shapes" points=1
check.masks_have_the_layers_shapes(made_masks)
### BEGIN HIDDEN TESTS
check.masks_have_the_layers_shapes(made_masks, hidden=1)
### END HIDDEN TESTS

# %% test="masks_hide_the_future" points=2
check.masks_hide_the_future(made_masks)
### BEGIN HIDDEN TESTS
check.masks_hide_the_future(made_masks, hidden=1)
### END HIDDEN TESTS

# %% test="masks_connect_all_of_the_past" points=1
check.masks_connect_all_of_the_past(made_masks)
### BEGIN HIDDEN TESTS
check.masks_connect_all_of_the_past(made_masks, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# With a list of degrees for each layer of units: the inputs 1, …, D; each hidden layer; the outputs 1, …, D. A mask compares two neighboring lists, each entry of one with each of the
# other: `above[:, None] >= below` is a whole matrix at once.
# </details>
# <details><summary>Help: an output sees its own input</summary>
#
# One comparison must be strict: the last. If all were strict, output 2 would see nothing.
# </details>
# <details><summary>Help: an output does not see an input that it may see</summary>
#
# Print the degrees of your hidden units. Each of 1, …, D − 1 must be among them. `torch.arange(width) % n` counts 0, …, n − 1 round and round.
# </details>

# %% [markdown]
# Let us look at the masks of flowlib's network, and at their product.

# %%
made = flowlib.MADE(5, size=1, hidden=(12, 12))
masks = made.masks()
product = masks[2] @ masks[1] @ masks[0]
variables, degrees = [1, 2, 3, 4, 5], masks[0].sum(1).int().tolist()  # degree m: m inputs are seen
steps = (
    ("first layer", masks[0], "input", variables, "hidden unit", degrees),
    ("second layer", masks[1], "hidden unit below", degrees, "hidden unit", degrees),
    ("last layer", masks[2], "hidden unit", degrees, "output", variables),
    ("product $P$", product, "input", variables, "output", variables),
)
figure, axes = plt.subplots(1, 4, figsize=(11, 3.4), width_ratios=(5, 12, 12, 5))
for ax, (title, matrix, below, below_degrees, above, above_degrees) in zip(axes, steps, strict=True):
    ax.imshow(matrix > 0, cmap="gray_r", vmin=0, vmax=1.4)
    ax.set_xticks(range(len(below_degrees)), below_degrees, fontsize=8)
    ax.set_yticks(range(len(above_degrees)), above_degrees, fontsize=8)
    ax.set(title=title, xlabel=f"degree of {below}", ylabel=f"degree of {above}")
for i, j in itertools.product(range(5), range(5)):
    axes[3].text(j, i, int(product[i, j]), ha="center", va="center", color="w" if j < i else "0.4")
plt.show()

# %% [markdown]
# **Figure.** Three masks of a network with 5 inputs, two hidden layers of 12 units and 5 outputs, kept connections dark, and the matrix $P$ of path counts. The ticks are degrees. flowlib sorts the hidden units by
# degree, so the masks are staircases: below the stairs all is kept. Where two degrees are equal, the last mask cuts and the others keep. $P$ has zeros on and above its diagonal and counts below: many ways lead from each variable to each later one, and none back.
#
# ### Exercise 2 · MADE
#
# Difficulty 3/5 (a network with cut wires) · about 15 minutes · 4 points
#
# Write the network. It is given the masks, and a number `size` of outputs for each variable: two for Gaussian conditionals, $s_i$ and $t_i$. The output is
# `(*batch, size · D)`, in **blocks of D**: first the first output of every variable, then the second. So the last mask is needed `size` times, one copy below the other. Between the layers stands an activation
# of your choice; behind the last one none. The masks must hold **whatever the weights are**, for training will change them. `nn.functional.linear(v, W, beta)` computes $Wv + \beta$.


# %% solution="MADE"
class MADE(nn.Module):
    """A perceptron whose outputs for variable i depend on the inputs j < i alone.

    Args:
        masks: list of tensors of zeros and ones, each `(outputs, inputs)` of its layer; the last `(D, H)`.
        size: outputs for each variable.
    """

    def __init__(self, masks, size):
        super().__init__()
        ### BEGIN SOLUTION
        *hidden, last = masks
        masks = [*hidden, last.repeat(size, 1)]
        self.layers = nn.ModuleList(nn.Linear(mask.shape[1], mask.shape[0]) for mask in masks)
        for k, mask in enumerate(masks):
            self.register_buffer(f"mask{k}", mask)
        ### END SOLUTION

    def forward(self, v):
        """v `(*batch, D)` → `(*batch, size · D)`, blocks of D."""
        ### BEGIN SOLUTION
        for k, layer in enumerate(self.layers):
            if k > 0:
                v = torch.relu(v)
            v = nn.functional.linear(v, self.get_buffer(f"mask{k}") * layer.weight, layer.bias)
        return v
        ### END SOLUTION


# %% test="made_output_shape" points=1
check.made_output_shape(MADE)
### BEGIN HIDDEN TESTS
check.made_output_shape(MADE, hidden=1)
### END HIDDEN TESTS

# %% test="made_outputs_see_only_earlier_variables" points=1
check.made_outputs_see_only_earlier_variables(MADE)
### BEGIN HIDDEN TESTS
check.made_outputs_see_only_earlier_variables(MADE, hidden=1)
### END HIDDEN TESTS

# %% test="made_outputs_see_all_earlier_variables" points=1
check.made_outputs_see_all_earlier_variables(MADE)
### BEGIN HIDDEN TESTS
check.made_outputs_see_all_earlier_variables(MADE, hidden=1)
### END HIDDEN TESTS

# %% test="made_is_learned" points=1
check.made_is_learned(MADE)
### BEGIN HIDDEN TESTS
check.made_is_learned(MADE, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: an output changes with an input that it must not see, though I have set those weights to 0</summary>
#
# The check fills all parameters anew, as training does. A weight that was set to 0 once does not stay there. Multiply by the mask in `forward`, at every call.
# </details>
# <details><summary>Help: entry 1 of the output belongs to variable 2, and it sees the wrong inputs</summary>
#
# Look at the order of the outputs for `size = 2`, D = 3: $(a_1, a_2, a_3, b_1, b_2, b_3)$. `repeat` puts copies of the whole mask below each other, `repeat_interleave` copies of each row.
# </details>
# <details><summary>Help: "no parameter has a gradient"</summary>
#
# Layers in a Python list are not registered. `nn.ModuleList` registers them.
# </details>

# %% [markdown]
# ## 3 · The discrete sibling
#
# Before the flow, the same network on data that no flow takes: **binary** pixels, $x_i \in \{0, 1\}$. A conditional is then one number, the probability of a 1. With `size = 1` the network gives its *logit* $a_i(x_{<i})$, any real number, which the function $\sigma$ squeezes between 0 and 1:
#
# $$P(x) = \prod_{i=1}^{D} P(x_i \mid x_{<i}), \qquad P(x_i = 1 \mid x_{<i}) = \sigma(a_i), \quad \sigma(a) = \frac1{1 + e^{-a}} .$$
#
# There is no $u$, no Jacobian and no inverse: a likelihood model, not a flow. $\log P$ takes one pass, as all of $x$ is known. Sampling takes $D$: draw $x_1$, feed it back, draw $x_2$, and so on. With a
# categorical distribution over 256 levels in place of the coin, and a network for images or sound, this is PixelRNN or WaveNet.
#
# **Predict.** In a sample's first pass, what shall the network be fed for the variables that have not been drawn?
#
# <details><summary>Answer</summary>
#
# Anything: the masks cut it off. Zeros are the safe choice. (A guess may be huge, and $0 \cdot \infty$ is not a number.)
# </details>
#
# ### Exercise 3 · A product of coins
#
# Difficulty 3/5 (two directions, two costs) · about 15 minutes · 4 points
#
# `conditioner` maps `(*batch, D)` to logits `(*batch, D)`, and logit $i$ depends on $x_{<i}$ alone. Write `log_prob` and `sample`. A network that is sure may give logits of ±300: $\sigma$ is then exactly 0 or 1 in floating point, and
# $\log P$ is still finite. `nn.functional.logsigmoid` knows how.


# %% solution="AutoregressiveBernoulli"
class AutoregressiveBernoulli(nn.Module):
    """P(x) = Π_i Bernoulli(x_i; σ(a_i)) with logits a = conditioner(x), a_i a function of x_<i.

    Args:
        conditioner: module `(*batch, D)` → `(*batch, D)`.
        D: number of binary variables.
    """

    def __init__(self, conditioner, D):
        super().__init__()
        self.conditioner = conditioner
        self.D = D

    def log_prob(self, x):
        """log P(x) in nats: x `(*batch, D)` of zeros and ones → `(*batch,)`."""
        ### BEGIN SOLUTION
        signs = 2 * x - 1  # P(x_i = 0) = 1 − σ(a) = σ(−a)
        return nn.functional.logsigmoid(signs * self.conditioner(x)).sum(-1)
        ### END SOLUTION

    @torch.no_grad()
    def sample(self, n):
        """n draws `(n, D)` of zeros and ones, floating point."""
        ### BEGIN SOLUTION
        x = torch.zeros(n, self.D)
        for i in range(self.D):
            x[:, i] = torch.bernoulli(torch.sigmoid(self.conditioner(x)[:, i]))
        return x
        ### END SOLUTION


# %% test="binary_probabilities_sum_to_one" points=1
check.binary_probabilities_sum_to_one(AutoregressiveBernoulli)
### BEGIN HIDDEN TESTS
check.binary_probabilities_sum_to_one(AutoregressiveBernoulli, hidden=1)
### END HIDDEN TESTS

# %% test="binary_log_prob_is_chain_rule" points=1
check.binary_log_prob_is_chain_rule(AutoregressiveBernoulli)
### BEGIN HIDDEN TESTS
check.binary_log_prob_is_chain_rule(AutoregressiveBernoulli, hidden=1)
### END HIDDEN TESTS

# %% test="binary_log_prob_stays_finite" points=1
check.binary_log_prob_stays_finite(AutoregressiveBernoulli)
### BEGIN HIDDEN TESTS
check.binary_log_prob_stays_finite(AutoregressiveBernoulli, hidden=1)
### END HIDDEN TESTS

# %% test="binary_samples_follow_log_prob" points=1
check.binary_samples_follow_log_prob(AutoregressiveBernoulli)
### BEGIN HIDDEN TESTS
check.binary_samples_follow_log_prob(AutoregressiveBernoulli, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the probabilities do not sum to 1</summary>
#
# Both outcomes have a probability: $x_i \log\sigma(a_i) + (1 - x_i)\log(1 - \sigma(a_i))$. And $1 - \sigma(a) = \sigma(-a)$.
# </details>
# <details><summary>Help: −inf or NaN</summary>
#
# $\log(1 - \sigma(300))$ is $\log 0$ in floating point. $\log\sigma(-300)$, computed as such, is $-300$.
# </details>
# <details><summary>Help: the samples have the wrong frequencies</summary>
#
# One pass is good for one variable. Draw it, keep it, and let the next pass see it. Variables that are drawn are never drawn again.
# </details>

# %% [markdown]
# On real data: handwritten digits of 8×8 pixels, each pixel black or white. The opponent is the table of **independent** pixels, a coin for each. How much does a model gain that looks at the pixels before?

# %%
train, validation, test = (part.images for part in data.load_digits_split(seed=0, binarize=8))
share = (train.sum(0) + 1) / (len(train) + 2)  # one more of each, so that no probability is 0
independent = Independent(torch.distributions.Bernoulli(share), 1)
torch.manual_seed(0)
digits_model = flowlib.AutoregressiveBernoulli(flowlib.MADE(64, size=1, hidden=(256,), dropout=0.3))
flowlib.fit(
    digits_model,
    train,
    validation=validation,
    steps=600,
    batch_size=128,
    lr=5e-3,
    eval_every=50,
    max_steps=MAX_STEPS,
)
with torch.no_grad():
    nats = {
        "independent pixels": -independent.log_prob(test),
        "autoregressive": -digits_model.log_prob(test),
    }
for name, values in nats.items():
    error = values.std() / math.sqrt(len(values))
    print(
        f"{name:20s} {values.mean():6.2f} ± {error:.2f} nats an image, {values.mean() / (64 * math.log(2)):.3f} bits a pixel"
    )

torch.manual_seed(1)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), gridspec_kw={"wspace": 0.15})
rows = {
    "test digits": test[:25],
    "independent pixels": independent.sample((25,)),
    "autoregressive": digits_model.sample((25,)),
}
for ax, (title, images) in zip(axes, rows.items(), strict=True):
    plotting.plot_image_grid(images, columns=5, vmax=1, ax=ax, title=title)
plt.show()

# %% [markdown]
# **Figure.** Left: 25 black-and-white digits of the test set. Middle: draws of independent pixels: the right amount of ink in the right region, torn to shreds. Right: draws of the autoregressive model; strokes hold together and several are readable digits, since every pixel was
# drawn knowing those before it. The numbers above say the same: it spends far fewer bits on a pixel. Both likelihoods are exact, $\sum_x P(x) = 1$ over all $2^{64}$ images.

# %% [markdown]
# ## 4 · MAF: look at the data
#
# Now the flow. A *masked autoregressive* layer (Papamakarios, Pavlakou & Murray 2017) is the model of section 1 with a MADE for all $s_i$ and $t_i$:
#
# $$x_i = u_i\, e^{s_i(x_{<i})} + t_i(x_{<i}).$$
#
# **`inverse`**, from data to base. All of $x$ is there, so one pass of the network gives all of $s$ and $t$, and
#
# $$u = (x - t)\odot e^{-s}, \qquad \log\left|\det\frac{\partial u}{\partial x}\right| = -\sum_{i=1}^{D} s_i .$$
#
# **`forward`**, from base to data. $s_2$ needs $x_1$, which has to be computed first. Then $s_3$ needs $x_2$. So: a pass for $x_1$, a pass for $x_2$, …, $D$ passes of the network. This is ancestral sampling, and it cannot be done in one go.
#
# **Predict.** Training by maximum likelihood on a million examples: which of the two directions runs?
#
# <details><summary>Answer</summary>
#
# Only `inverse`, the cheap one. A MAF is slow only when it draws.
# </details>
#
# ### Exercise 4 · The masked autoregressive layer
#
# Difficulty 4/5 (the heart of this notebook) · about 25 minutes · 7 points
#
# `conditioner` maps `(*batch, D)` to `(*batch, 2D)`: first all $s$, then all $t$, those of variable $i$ functions of the variables before $i$ in whatever it is fed. Write both directions. `inverse` calls it once.


# %% solution="MaskedAutoregressiveLayer"
class MaskedAutoregressiveLayer(nn.Module):
    """x_i = u_i exp(s_i) + t_i, with s_i and t_i functions of the data x_<i.

    Args:
        conditioner: module `(*batch, D)` → `(*batch, 2D)`, s and t side by side.
    """

    def __init__(self, conditioner):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        nothing = torch.zeros_like(u[..., 0])
        known, log_det = [], nothing
        for u_i in u.unbind(-1):
            unknown = [nothing] * (u.shape[-1] - len(known))
            s, t = self.conditioner(torch.stack(known + unknown, dim=-1)).chunk(2, dim=-1)
            i = len(known)
            known.append(u_i * s[..., i].exp() + t[..., i])
            log_det = log_det + s[..., i]
        return torch.stack(known, dim=-1), log_det
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        s, t = self.conditioner(x).chunk(2, dim=-1)
        return (x - t) * (-s).exp(), -s.sum(-1)
        ### END SOLUTION


# %% test="maf_inverse_formula" points=1
check.maf_inverse_formula(MaskedAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.maf_inverse_formula(MaskedAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="maf_forward_undoes_inverse" points=2
check.maf_forward_undoes_inverse(MaskedAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.maf_forward_undoes_inverse(MaskedAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="maf_log_det_matches_jacobian" points=1
check.maf_log_det_matches_jacobian(MaskedAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.maf_log_det_matches_jacobian(MaskedAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="maf_inverse_log_det_matches_jacobian" points=1
check.maf_inverse_log_det_matches_jacobian(MaskedAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.maf_inverse_log_det_matches_jacobian(MaskedAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="maf_inverse_takes_one_pass" points=1
check.maf_inverse_takes_one_pass(MaskedAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.maf_inverse_takes_one_pass(MaskedAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="maf_batch_shapes" points=1
check.maf_batch_shapes(MaskedAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.maf_batch_shapes(MaskedAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# With `inverse`: two lines. `chunk(2, dim=-1)` splits the conditioner's output into $s$ and $t$.
# </details>
# <details><summary>Help: how do I write forward?</summary>
#
# A loop over the variables. Keep what is known of x, with zeros for the rest. Feed it to the conditioner; of all the numbers that come back, take $s_i$ and $t_i$; compute $x_i$; go on.
# </details>
# <details><summary>Help: the log_det of forward is too large</summary>
#
# Every pass gives $D$ log-scales, and most belong to variables whose past is not complete. Only $s_i$ counts in pass $i$.
# </details>
# <details><summary>Advice: "forward cannot be differentiated"</summary>
#
# `x[..., i] = …` changes a tensor that the conditioner has been fed and still needs for its gradient. Collect the variables in a list and use `torch.stack`.
# </details>

# %% [markdown]
# ## 5 · IAF: look at the base
#
# Turn the tables. An *inverse autoregressive* layer (Kingma et al. 2016) lets the network look at the base variables:
#
# $$x_i = u_i\, e^{s_i(u_{<i})} + t_i(u_{<i}).$$
#
# One symbol has changed. The Jacobian is triangular as before, with $e^{s_i}$ on its diagonal. But now `forward` knows all that it needs: **sampling takes one pass**. `inverse` has to find $u_1$ from $x_1$, then
# $u_2$ from $x_2$ and $u_1$, and so on: $D$ passes.
#
# **Predict.** A draw from an IAF, together with its log-density: how many passes?
#
# <details><summary>Answer</summary>
#
# One. The draw started from a known $u$, so $\log p(x) = \log p_u(u) - \sum_i s_i$ needs no inverse. Only the density of an $x$ that comes **from elsewhere** is expensive.
# </details>
#
# Is it another family of densities? In a single layer $u_{<i}$ and $x_{<i}$ determine each other. So each kind of layer can imitate the other, given a network that is large enough: the rows of $L$ and of $A$ in the Cholesky example did. What differs is which densities a network of a given size represents *easily*.
#
# ### Exercise 5 · The inverse autoregressive layer
#
# Difficulty 2/5 (after exercise 4) · about 10 minutes · 5 points
#
# The conditioner is as in exercise 4. `forward` calls it once.


# %% solution="InverseAutoregressiveLayer"
class InverseAutoregressiveLayer(nn.Module):
    """x_i = u_i exp(s_i) + t_i, with s_i and t_i functions of the base variables u_<i.

    Args:
        conditioner: module `(*batch, D)` → `(*batch, 2D)`, s and t side by side.
    """

    def __init__(self, conditioner):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        s, t = self.conditioner(u).chunk(2, dim=-1)
        return u * s.exp() + t, s.sum(-1)
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        nothing = torch.zeros_like(x[..., 0])
        known, log_det = [], nothing
        for x_i in x.unbind(-1):
            unknown = [nothing] * (x.shape[-1] - len(known))
            s, t = self.conditioner(torch.stack(known + unknown, dim=-1)).chunk(2, dim=-1)
            i = len(known)
            known.append((x_i - t[..., i]) * (-s[..., i]).exp())
            log_det = log_det - s[..., i]
        return torch.stack(known, dim=-1), log_det
        ### END SOLUTION


# %% test="iaf_forward_formula" points=1
check.iaf_forward_formula(InverseAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.iaf_forward_formula(InverseAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="iaf_inverse_undoes_forward" points=1
check.iaf_inverse_undoes_forward(InverseAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.iaf_inverse_undoes_forward(InverseAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="iaf_log_dets_match_jacobians" points=1
check.iaf_log_dets_match_jacobians(InverseAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.iaf_log_dets_match_jacobians(InverseAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="iaf_forward_takes_one_pass" points=1
check.iaf_forward_takes_one_pass(InverseAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.iaf_forward_takes_one_pass(InverseAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% test="iaf_batch_shapes" points=1
check.iaf_batch_shapes(InverseAutoregressiveLayer)
### BEGIN HIDDEN TESTS
check.iaf_batch_shapes(InverseAutoregressiveLayer, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: all checks but the round trip pass, or the formula alone fails</summary>
#
# What does your network look at in `forward`, and what in `inverse`? It must be $u$ both times. If it is $x$ both times, you have written a MAF again.
# </details>

# %% [markdown]
# ## 6 · What each direction costs
#
# Counting passes is one thing, a clock another. We time both directions of both layers against $D$, with the same network, hidden layers of 64 units, and batches of 256.
#
# **Predict.** On doubly logarithmic axes a cost proportional to $D$ is a line of slope 1. Which two of the four curves will be such lines?

# %%


@torch.no_grad()
def seconds_of(function, argument, repeats=15):
    """The fastest of several calls: whatever else the computer does can only slow one down."""
    function(argument)  # a first call is slower
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - start)
    return min(times)


sizes = [2, 4, 8, 16, 32, 64]
layer_kinds = {"MAF": flowlib.MaskedAutoregressive, "IAF": flowlib.InverseAutoregressive}
seconds = {(name, way): [] for name in layer_kinds for way in ("forward", "inverse")}
for D in sizes:
    for name, kind in layer_kinds.items():
        layer = kind(flowlib.MADE(D, size=2, hidden=(64, 64)), flowlib.AffineElementwise(1.0))
        for way in ("forward", "inverse"):
            seconds[name, way].append(seconds_of(getattr(layer, way), torch.randn(256, D)))

figure, ax = plt.subplots(figsize=(7.5, 4.2))
looks = {
    ("MAF", "forward"): ("vermilion", "o-", "sampling"),
    ("MAF", "inverse"): ("vermilion", "o--", "density"),
    ("IAF", "forward"): ("blue", "s-", "sampling"),
    ("IAF", "inverse"): ("blue", "s--", "density"),
}
for (name, way), (color, marker, use) in looks.items():
    milliseconds = 1e3 * np.array(seconds[name, way])
    ax.loglog(sizes, milliseconds, marker, color=plotting.PALETTE[color], label=f"{name} {way} ({use})")
guide = 1e3 * seconds["MAF", "forward"][0] / 2 * np.array(sizes)
ax.loglog(sizes, guide, ":", color="0.6", label="proportional to D")
ax.set(
    title="Time of a layer on a batch of 256", xlabel="number of variables D", ylabel="time (milliseconds)"
)
ax.set_xticks(sizes, sizes)
ax.set_yticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
ax.minorticks_off()
ax.legend()
plt.show()
for key in looks:
    slope = np.polyfit(np.log(sizes), np.log(seconds[key]), 1)[0]
    print(
        f"{key[0]} {key[1]:8s} slope {slope:.2f}, at D = 64 {1e3 * seconds[key][-1]:6.2f} milliseconds, "
        f"{seconds[key][-1] / min(s[-1] for s in seconds.values()):5.1f} times the fastest"
    )

# %% [markdown]
# **Figure.** Time against $D$ on doubly logarithmic axes. Two curves, one upon the other, rise along the dotted line of slope 1: MAF's `forward` and IAF's `inverse`. The other two, MAF's `inverse` and IAF's `forward`, lie together far below and rise slowly. What is slow in one layer is fast in the
# other: the layers do the same arithmetic with the roles of $u$ and $x$ exchanged.
#
# | | density of given data (`inverse`) | sampling (`forward`) | network looks at | good for |
# |---|---|---|---|---|
# | **MAF** | 1 pass | $D$ passes | data $x_{<i}$ | fitting data by maximum likelihood |
# | **IAF** | $D$ passes | 1 pass, with its log-density | base $u_{<i}$ | fast samples; variational posteriors (notebook 8) |
# | **coupling** | 1 pass | 1 pass | the kept half | both |
#
# ### Exercise 6 · Find the error
#
# Difficulty 1/5 (check it against the table of your own measurements) · about 5 minutes · 1 point
#
# Six statements. Some are the story that a popular introduction tells (*Normalizing Flows Are Awesome*, 2021), in our words; some are not. Judge each of them.
#
# - **A.** In a MAF the network that moves variable $i$ looks at the base variables $u_{<i}$.
# - **B.** So a MAF generates all variables of a sample in parallel.
# - **C.** MAF and IAF both have a triangular Jacobian, and the log-determinant is a sum of $D$ numbers.
# - **D.** In an IAF all base variables $u$ of a given $x$ can be computed in parallel, because all of $x$ is known.
# - **E.** An IAF gives the log-density of each sample that it draws without another pass.
# - **F.** A coupling layer is a special case of an autoregressive layer, in which a whole group of variables is computed at once.


# %% solution="find_the_error"
def find_the_error():
    """Letter of a statement → True (right) or False (wrong)."""
    ### BEGIN SOLUTION
    return {"A": False, "B": False, "C": True, "D": False, "E": True, "F": True}
    ### END SOLUTION


# %% test="statements_are_judged" points=1
check.statements_are_judged(find_the_error)
### BEGIN HIDDEN TESTS
check.statements_are_judged(find_the_error, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: I cannot tell</summary>
#
# Ask two questions of each layer and direction. What does the network look at? Is all of that known before the first step? If so, one pass will do. For F: put the kept variables of a coupling layer first. Who looks at whom then?
# </details>
#
# <details><summary>What happened in that text (open it afterwards)</summary>
#
# It has exchanged the two names; what it says about either way to look back is sound. Its words are "inputs" and "outputs", and which is which depends on the direction one has in mind. This is why the course says *base* and *data*.
# </details>

# %% [markdown]
# ## 7 · Who waits for whom
#
# A matrix $A$, `(D, D)`, says who looks at whom: $A_{ij} = 1$ when the parameters of variable $i$ depend on variable $j$, else 0. The slow direction proceeds in passes. In the first, all variables are computed that look at nobody; in the next, those that look
# only at variables already known. So the number of passes is the length of the **longest chain of waiting**, counted in variables.
#
# | layer | $A$ | passes of the slow direction |
# |---|---|---|
# | no dependencies (`Rescaling`) | 0 | 1 |
# | coupling with mask $b$ | $A_{ij} = (1 - b_i)\, b_j$: the moved look at the kept | 2, and the first is free: the kept pass unchanged |
# | autoregressive | strictly lower triangular, all ones | $D$ |
#
# A coupling layer is an autoregressive layer whose masks cut more. It gives up dependencies and wins both directions. MADE can do it by other degrees: variable $j$ need not have degree $j$. Give all kept variables degree 1 and all moved ones degree 2. Variables of equal degree do not see each other.

# %%
mask = torch.tensor([1, 0, 1, 0, 1, 0])
degree_lists = {
    "autoregressive": [1, 2, 3, 4, 5, 6],
    "reversed order": [6, 5, 4, 3, 2, 1],
    "three groups": [1, 1, 2, 2, 3, 3],
    "coupling": (2 - mask).tolist(),
}
figure, axes = plt.subplots(1, 4, figsize=(11, 3))
for ax, (name, degrees) in zip(axes, degree_lists.items(), strict=True):
    made = flowlib.MADE(6, size=2, hidden=(40,), degrees=degrees)
    first, last = made.masks()
    A = (last[:6] @ first) > 0
    calls = []
    made.register_forward_hook(lambda *_, calls=calls: calls.append(1))
    flowlib.MaskedAutoregressive(made).forward(torch.randn(2, 6))
    ax.imshow(A, cmap="gray_r", vmin=0, vmax=1.4)
    ax.set(
        title=f"{name}\npasses: {len(calls)}",
        xlabel="looked at: variable $j$",
        xticks=range(6),
        yticks=range(6),
        xticklabels=range(1, 7),
        yticklabels=range(1, 7),
    )
axes[0].set_ylabel("variable $i$")
plt.show()

# %% [markdown]
# **Figure.** Four patterns of dependencies among six variables, measured as products of MADE's masks; dark: $i$ looks at $j$. The autoregressive pattern fills the lower triangle, the reversed order the upper one; both take six passes. Three groups of two
# make a staircase with broad steps, and take three passes. The coupling's pattern is a lattice, rows of moved and columns of kept variables: two passes. The numbers above the panels are calls of the network, counted.
#
# ### Exercise 7 · Count the passes
#
# Difficulty 3/5 (a small algorithm) · about 12 minutes · 3 points
#
# `sequential_passes(A)` returns how many passes the slow direction takes, a whole number. The variables may stand in any order; two that wait for each other, or one that waits for itself, can be computed in no order: raise a `ValueError`.


# %% solution="sequential_passes"
def sequential_passes(A):
    """Passes of the network that the slow direction takes.

    Args:
        A: float tensor `(D, D)` of zeros and ones; A[i, j] = 1: the parameters of variable i depend on variable j.

    Raises:
        ValueError: the dependencies have a cycle.
    """
    ### BEGIN SOLUTION
    known = torch.zeros(len(A), dtype=torch.bool)
    passes = 0
    while not known.all():
        ready = (A[:, ~known] == 0).all(dim=1)  # looks at nothing that is unknown
        if torch.equal(ready, known):
            raise ValueError(f"variables {torch.nonzero(~known).flatten().tolist()} wait for each other")
        known = ready
        passes += 1
    return passes
    ### END SOLUTION


# %% test="passes_of_known_layers" points=1
check.passes_of_known_layers(sequential_passes)
### BEGIN HIDDEN TESTS
check.passes_of_known_layers(sequential_passes, hidden=1)
### END HIDDEN TESTS

# %% test="passes_of_any_dependencies" points=1
check.passes_of_any_dependencies(sequential_passes)
### BEGIN HIDDEN TESTS
check.passes_of_any_dependencies(sequential_passes, hidden=1)
### END HIDDEN TESTS

# %% test="passes_reject_cycles" points=1
check.passes_reject_cycles(sequential_passes)
### BEGIN HIDDEN TESTS
check.passes_reject_cycles(sequential_passes, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Play it by hand for the coupling. Nobody is known. Who looks at nobody? Mark them as known: one pass. Who looks only at known variables now? Go on until all are known.
# </details>
# <details><summary>Help: my function never returns</summary>
#
# With a cycle a round brings nothing new. Compare who is known before and after a round.
# </details>

# %% [markdown]
# ## 8 · Parallel WaveNet: a teacher who scores, a student who draws
#
# WaveNet (van den Oord et al. 2016) models sound autoregressively, one value of the sound wave after the other. Its likelihood is cheap to compute and its training is fast. But a second of speech at 16 kHz has 16,000 values, and takes 16,000 passes one after the other. An IAF would draw that second in one pass. It
# cannot be trained by maximum likelihood in any acceptable time, though, since the density of data takes as many passes.
#
# Parallel WaveNet (van den Oord et al. 2017) uses both, each in its cheap direction:
#
# 1. Train a **teacher** $p$, autoregressive, by maximum likelihood. Only its density is needed: 1 pass.
# 2. Train a **student** $q$, an IAF, to imitate the teacher: minimize
#
# $$\mathrm{KL}(q \,\|\, p) = \mathbb E_{x\sim q}\bigl[\log q(x) - \log p(x)\bigr].$$
#
# The expectation is over the student's own draws. Draw them, 1 pass; their $\log q$ comes along; the teacher scores them, 1 pass. Nothing in this loop is sequential. The draws are reparameterized: $x = T(u)$ with the student's map $T$ and noise $u$ that no parameter touches. So the gradient
# passes through the teacher's score back into the student: *make such an $x$ more likely under the teacher*. Meanwhile $\log q$ keeps the student from saying the same thing again and again.
#
# **Predict.** What would the student learn without the term $\log q(x)$?
#
# <details><summary>Answer</summary>
#
# To put all of its samples at the teacher's highest peak. $-\mathbb E[\log q]$ is the student's entropy; it is what pays for variety.
# </details>
#
# ### Exercise 8 · The distillation loss
#
# Difficulty 3/5 (short, and every sign counts) · about 15 minutes · 4 points
#
# `student` is a flow: `student.base()` returns its base distribution, `student.forward(u)` returns `(x, log_det)`. `teacher.log_prob(x)` is `(n,)`. Estimate $\mathrm{KL}(q\,\|\,p)$ in nats from `num_samples` draws, with gradient. **Never ask for the student's inverse.**


# %% solution="distillation_loss"
def distillation_loss(student, teacher, num_samples):
    """The estimate of KL(student ‖ teacher) in nats from the student's own draws, a scalar with gradient.

    Args:
        student: a flow, with `base()` and `forward(u)`.
        teacher: any density with `log_prob(x)`, `(n, D)` → `(n,)`.
        num_samples: number of draws n.
    """
    ### BEGIN SOLUTION
    base = student.base()
    u = base.rsample((num_samples,))
    x, log_det = student.forward(u)
    log_q = base.log_prob(u) - log_det
    return (log_q - teacher.log_prob(x)).mean()
    ### END SOLUTION


# %% test="loss_is_divergence" points=1
check.loss_is_divergence(distillation_loss)
### BEGIN HIDDEN TESTS
check.loss_is_divergence(distillation_loss, hidden=1)
### END HIDDEN TESTS

# %% test="loss_vanishes_for_a_perfect_student" points=1
check.loss_vanishes_for_a_perfect_student(distillation_loss)
### BEGIN HIDDEN TESTS
check.loss_vanishes_for_a_perfect_student(distillation_loss, hidden=1)
### END HIDDEN TESTS

# %% test="loss_gradient_teaches_the_student" points=1
check.loss_gradient_teaches_the_student(distillation_loss)
### BEGIN HIDDEN TESTS
check.loss_gradient_teaches_the_student(distillation_loss, hidden=1)
### END HIDDEN TESTS

# %% test="loss_needs_no_inverse_of_the_student" points=1
check.loss_needs_no_inverse_of_the_student(distillation_loss)
### BEGIN HIDDEN TESTS
check.loss_needs_no_inverse_of_the_student(distillation_loss, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: log q(x) without an inverse</summary>
#
# You hold the $u$ that $x$ was made of. $\log q(x) = \log p_u(u) - \log|\det\partial x/\partial u|$, and `forward` has returned the second term.
# </details>
# <details><summary>Help: the value is right and the gradient is wrong</summary>
#
# Look for `sample` in place of `rsample`, for `detach`, for `no_grad`. The gradient must pass through $x$, and through the teacher's `log_prob`. The teacher's *parameters* stay because the optimizer never gets them.
# </details>

# %% [markdown]
# ### In the plane
#
# The teacher is a MAF of six layers, fitted to two moons. Then it is frozen, and a student, an IAF of six layers, learns from its scores. The student sees no data point. (Its last layer is told mean and standard deviation of the data, as a start.) While it trains, its loss is an estimate of
# $\mathrm{KL}(q\,\|\,p)$, which would be 0 for a perfect student.

# %%
moons = data.TARGETS["two_moons"]
train, test = moons.sample(10_000, seed=0), moons.sample(5000, seed=1)
torch.manual_seed(0)
teacher = flowlib.maf(2, 6, activation=nn.Tanh, data=train)
flowlib.fit(teacher, train, steps=1200, batch_size=256, lr=3e-3, average=0.98, max_steps=MAX_STEPS)
teacher.requires_grad_(False)


def distill(student, teacher, num_samples, **options):
    """Train the student on the teacher's scores of its own draws; there is no data to go through."""

    def loss(_):
        return flowlib.distillation_loss(student, teacher, num_samples)

    no_data = torch.zeros(1, 1)
    return flowlib.fit(student, no_data, loss=loss, batch_size=1, max_steps=MAX_STEPS, **options)


torch.manual_seed(0)
student = flowlib.iaf(2, 6, activation=nn.Tanh, data=train)
history = distill(student, teacher, 256, steps=1000, lr=5e-3, average=0.98)

# %%


@torch.no_grad()
def divergences(student, teacher, n=5000, seed=0):
    """log-ratios of n draws: of the student, for KL(student ‖ teacher), and of the teacher, for KL(teacher ‖ student)."""
    torch.manual_seed(seed)
    x, log_q = student.sample_with_log_prob((n,))
    y, log_p = teacher.sample_with_log_prob((n,))
    return log_q - teacher.log_prob(x), log_p - student.log_prob(y)


def mean_and_error(values):
    return f"{values.mean():.3f} ± {values.std() / math.sqrt(len(values)):.3f}"


theta = torch.linspace(0, math.pi, 200)
upper = torch.stack([theta.cos(), theta.sin()], dim=-1)
lower = torch.stack([1 - theta.cos(), 0.5 - theta.sin()], dim=-1)


def share_of_upper(x):
    """The share of points nearer to the upper moon than to the lower one."""
    return (torch.cdist(x, upper).amin(-1) < torch.cdist(x, lower).amin(-1)).double().mean()


by_student, by_teacher = divergences(student, teacher)
excess = (moons.log_prob(test) - teacher.log_prob(test)).mean()
print(f"teacher: {excess:.3f} nats above the exact density on test data")
print(
    f"KL(student ‖ teacher) = {mean_and_error(by_student)} nats (what was minimized); log 2 = {math.log(2):.3f}"
)
print(f"KL(teacher ‖ student) = {mean_and_error(by_teacher)} nats")
torch.manual_seed(1)
drawn = {"data": test, "teacher (MAF)": teacher.sample((5000,)), "student (IAF)": student.sample((5000,))}
for name, x in drawn.items():
    print(f"{name:14s} share of points on the upper moon {share_of_upper(x):.3f}")

figure, axes = plt.subplots(1, 4, figsize=(12, 2.9), width_ratios=(4, 4, 4, 3))
for ax, (name, x) in zip(axes, drawn.items(), strict=False):
    plotting.plot_samples(ax, x[:2000], extent=moons.extent, title=name, xlabel="$x_1$", ylabel="$x_2$")
axes[3].plot(history.train_loss, color=plotting.PALETTE["blue"], linewidth=0.6)
axes[3].axhline(math.log(2), color=plotting.PALETTE["vermilion"], linestyle="--", label="log 2")
axes[3].set(title="student's loss", xlabel="step", ylabel="nats", ylim=(0, 3))
axes[3].legend()
plt.show()

# %% [markdown]
# **Figure.** 2000 points each of the data, of the teacher and of the student, and the student's loss. Data and teacher: two moons, the teacher's joined by a thin thread. Student: one moon, neatly drawn, and hardly a point of the other. Its loss falls within some hundred steps to a little above log 2, and stays there.
#
# A bad minimum, and a famous number. **Predict.** Let $q$ be exactly one of two equal halves of $p$, so that $q = 2p$ there and $0$ elsewhere. What is $\mathrm{KL}(q\,\|\,p)$? What is $\mathrm{KL}(p\,\|\,q)$?
#
# <details><summary>Answer</summary>
#
# Wherever $q$ draws, $\log q - \log p = \log 2$: so $\mathrm{KL}(q\,\|\,p) = \log 2 \approx 0.69$ nats, the whole price for ignoring half of the world. $\mathrm{KL}(p\,\|\,q)$ is infinite.
# </details>
#
# ### What the divergence forgives
#
# $\mathrm{KL}(q\,\|\,p)$ averages over the **student's** draws. Where the student never goes, nothing is averaged: a mode that it misses costs it little. Where it goes although the teacher is not there, $-\log p$ is large. So this divergence is *mode-seeking*: rather too narrow than too
# wide. Maximum likelihood minimizes $\mathrm{KL}(p\,\|\,q)$ and errs on the other side: *mode-covering*. In one dimension we can compute both to any accuracy, and try a whole table of Gaussians $q$ on a mixture $p$ of two:

# %%
grid = torch.linspace(-12, 12, 2401, dtype=torch.float64)
log_p = torch.logsumexp(
    torch.stack([Normal(-2.0, 0.6).log_prob(grid), Normal(2.0, 0.6).log_prob(grid)]), 0
) - math.log(2)
means, scales = torch.meshgrid(
    torch.linspace(-3, 3, 61, dtype=torch.float64),
    torch.linspace(0.3, 3, 55, dtype=torch.float64),
    indexing="ij",
)
log_q = Normal(means[..., None], scales[..., None]).log_prob(grid)
step = grid[1] - grid[0]
kl = {
    "KL(p ‖ q), mode-covering": (log_p.exp() * (log_p - log_q)).sum(-1) * step,
    "KL(q ‖ p), mode-seeking": (log_q.exp() * (log_q - log_p)).sum(-1) * step,
}
figure, ax = plt.subplots(figsize=(7.5, 3.4))
ax.fill_between(grid, log_p.exp(), color="0.8", label="p, a mixture of two")
for (name, values), line in zip(kl.items(), ("--", "-"), strict=True):
    best = values.flatten().argmin()
    mean, scale = means.flatten()[best].item(), scales.flatten()[best].item()
    ax.plot(grid, Normal(mean, scale).log_prob(grid).exp(), line, label=f"best q by {name}")
    print(f"{name}: mean {mean:+.2f}, scale {scale:.2f}, {values.min():.2f} nats")
ax.set(
    title="Two divergences, two best Gaussians", xlabel="x", ylabel="density (1 / unit of x)", xlim=(-6, 6)
)
ax.legend()
plt.show()

# %% [markdown]
# **Figure.** A mixture of two Gaussians, gray, and two Gaussians fitted to it. By KL(p ‖ q) the best one is wide and centered between the modes, where $p$ has hardly any mass. By KL(q ‖ p) it sits on one of the two modes and ignores the other. The price is about log 2, printed above: that of half of
# the mass. The student in the plane has done the same. It draws convincing samples of one moon and does not know of the other.
#
# ### Sound, in miniature
#
# Our signals are windows of $D = 16$ points in time of noisy damped sine waves, whose frequency, damping, amplitude and phase are random. After a few points a good listener can guess the rest: autoregressive data. The yardstick is a Gaussian with full covariance, the best linear guess.

# %%
D = 16
train, test = data.damped_sines(10_000, D, noise=0.1, seed=0), data.damped_sines(4000, D, noise=0.1, seed=1)
gaussian = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T))
torch.manual_seed(0)
wave_teacher = flowlib.maf(D, 2, activation=nn.ELU, data=train)
flowlib.fit(wave_teacher, train, steps=1000, batch_size=256, lr=3e-3, average=0.98, max_steps=MAX_STEPS)
wave_teacher.requires_grad_(False)
wave_student = flowlib.iaf(D, 4, activation=nn.ELU, data=train)
distill(wave_student, wave_teacher, 128, steps=1000, lr=5e-3, average=0.98)

with torch.no_grad():
    nll = {"Gaussian": -gaussian.log_prob(test), "teacher (MAF)": -wave_teacher.log_prob(test)}
for name, values in nll.items():
    print(f"{name:14s} {mean_and_error(values)} nats a window of test data")
by_student, by_teacher = divergences(wave_student, wave_teacher)
print(
    f"KL(student ‖ teacher) = {mean_and_error(by_student)} nats, {by_student.mean() / D:.3f} a point in time"
)
worse = (by_teacher > 10).double().mean()
print(
    f"teacher's windows: the student's log-density is lower by {by_teacher.median():.2f} nats in the median, by more than 10 for {worse:.1%}"
)

# %%
torch.manual_seed(2)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.2), sharey=True)
windows = {
    "data": test[:6],
    "teacher (MAF)": wave_teacher.sample((6,)),
    "student (IAF)": wave_student.sample((6,)),
}
for ax, (name, x) in zip(axes, windows.items(), strict=True):
    ax.plot(range(D), x.T, marker=".", linewidth=1)
    ax.set(title=name, xlabel="time (steps)", xticks=range(0, D, 5))
axes[0].set_ylabel("amplitude")
plt.show()

# %% [markdown]
# **Figure.** Six windows each of the data, the teacher and the student. All three show slow oscillations that die away, with a little noise on top. By eye they are hard to tell apart. There are no separate modes to be lost here, since amplitude and phase vary continuously, and the divergence per point in time is small. Even so the student is a little too sure of itself: see the share of the teacher's windows that it finds very unlikely.
#
# Now the clock. The teacher, 2 layers, draws in 2 · 16 passes, each waiting for the last; the student, 4 layers, in 4.

# %%
print("drawing windows             teacher     student     ratio")
for n in (1, 100, 1000):
    slow = seconds_of(lambda n: wave_teacher.sample((n,)), n)
    fast = seconds_of(lambda n: wave_student.sample((n,)), n)
    print(f"{n:5d} windows at once   {1e3 * slow:7.2f} ms  {1e3 * fast:7.2f} ms   {slow / fast:6.1f}")
x = test[:1000]
slow, fast = (seconds_of(flow.log_prob, x) for flow in (wave_student, wave_teacher))
print(
    f"scoring 1000 windows: student {1e3 * slow:.2f} ms, teacher {1e3 * fast:.2f} ms, ratio {slow / fast:.1f}"
)

# %% [markdown]
# The student has twice as many layers and draws several times as fast. At $D = 16$ this is a convenience; at 16,000 values a second it decides whether a voice can answer. The paper's student speaks more than 20 times faster than real time. The last line is the same fact from the other side: ask the student for the density of
# given data, and it is the slow one. Distillation uses each model in its cheap direction only.
#
# The real system needed more than the divergence: its authors add losses on the power in each frequency band and on the content of the speech, the first of them against a voice that only whispers. And its teacher is a convolutional network whose conditionals are mixtures of logistic distributions. The principle is what you have built.
#
# ### Exercise 9 · In your own words
#
# Difficulty 2/5 (writing) · about 8 minutes · 2 points, graded by hand
#
# (a) Why could the student not be trained by maximum likelihood on the data directly, and why is distillation cheap? Count passes of the networks. (b) A student reaches a small $\mathrm{KL}(q\,\|\,p)$. Which defect may it still have, and which measurement would show it?
#
# *What we look for.* One point for (a): the passes of one training step, counted for both ways to train. One point for (b): a defect with its reason, and a measurement that would find it.

# %% [markdown] manual="why_distill" points=2
# ### BEGIN SOLUTION
# (a) Maximum likelihood needs the student's log-density of data from elsewhere. For that an IAF has to find $u_1$, then $u_2$, …: $D$ passes, one after the other, in every training step. Distillation asks for the density of the student's own draws, which comes with the one pass that draws them,
# and for the teacher's density, one pass of a MAF. No step waits for another.
#
# (b) It may leave out modes, or say too little of what the teacher knows: only places where the student draws are averaged, so what it misses costs next to nothing. The other divergence, $\mathrm{KL}(p\,\|\,q)$, estimated on the teacher's draws or as the student's mean log-density of held-out data,
# is large then. In the plane, counting the share of draws on each moon shows it as well.
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - The chain rule with Gaussian conditionals is an invertible map: $x_i = u_ie^{s_i} + t_i$. Its Jacobian is triangular, $\log|\det J| = \sum_i s_i$.
# - MADE gives all $s_i$, $t_i$ from one network: along a connection degrees never fall, and to an output they rise.
# - MAF's network looks at the data: density in 1 pass, sampling in $D$. IAF's looks at the base: sampling in 1 pass, density of given data in $D$, density of its own samples for free.
# - The passes of the slow direction are the longest chain of waiting: $D$ for an autoregressive layer, 2 for a coupling layer.
# - Discrete data: the same masks and a coin for each variable; exact likelihood, no flow.
# - Distillation uses a MAF's density and an IAF's samples. $\mathrm{KL}(q\,\|\,p)$ is mode-seeking: look at the other divergence, too.
#
# **Common mistakes**: an output that sees itself ($\ge$ for $>$ in the last mask) · masks applied once and trained away · $s$ and $t$ interleaved where blocks are meant · $\log(1 - \sigma(a))$ computed from a rounded $\sigma(a)$ · all variables computed in the first pass · the log-scales of every pass added · MAF and
# IAF exchanged · passes counted as variables · `no_grad` around the teacher · the student's inverse in the distillation loss.
#
# ## References
#
# - H. Larochelle, I. Murray, *The Neural Autoregressive Distribution Estimator*, AISTATS 2011.
# - M. Germain, K. Gregor, I. Murray, H. Larochelle, *MADE: Masked Autoencoder for Distribution Estimation*, 2015, arXiv:1502.03509.
# - D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever, M. Welling, *Improving Variational Inference with Inverse Autoregressive Flow*, 2016, arXiv:1606.04934.
# - G. Papamakarios, T. Pavlakou, I. Murray, *Masked Autoregressive Flow for Density Estimation*, 2017, arXiv:1705.07057.
# - A. van den Oord et al., *WaveNet: A Generative Model for Raw Audio*, 2016, arXiv:1609.03499.
# - A. van den Oord et al., *Parallel WaveNet: Fast High-Fidelity Speech Synthesis*, 2017, arXiv:1711.10433.
# - G. Papamakarios, E. Nalisnick, D. J. Rezende, S. Mohamed, B. Lakshminarayanan, *Normalizing Flows for Probabilistic Modeling and Inference*, 2021, arXiv:1912.02762.
