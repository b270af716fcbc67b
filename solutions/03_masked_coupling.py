# %% [markdown]
# # 3 · Masked coupling layers: from NICE to RealNVP
#
# A normalizing flow needs a map that is flexible like a neural network, invertible like a shift, and whose Jacobian
# determinant costs next to nothing. No ordinary network is all three. This notebook builds one that is, out of a single
# idea: **change one part of the vector, and let the other part, which stays, say how.**
#
# **You will be able to**
# - derive the inverse and the log-determinant of additive and affine coupling layers, and check both by machine;
# - implement `AdditiveCouplingLayer`, `Rescaling`, `MaskedCouplingLayer`, `alternating_masks` and `Flow`;
# - train a RealNVP on two moons and say how many nats it is away from the exact density;
# - tell from measurements which property a broken layer breaks, and write the test that finds it.
#
# **Time:** about 60 minutes of reading, 105 minutes of exercises.
# **Needs:** notebooks 1 and 2 (change of variables, triangular determinants), PyTorch modules.

# %%
import itertools
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from autograder_tests import clinic
from autograder_tests.checks import masked_coupling as check
from flowlib import data, interactive, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(3)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $u$ | `(*batch, D)` | base variable, $u \sim p_u$; here $p_u = \mathcal N(0, I)$ |
# | $x = T(u)$ | `(*batch, D)` | data variable |
# | $b$ | `(D,)`, float | mask: $b_i = 1$ keeps variable $i$, $b_i = 0$ moves it |
# | $s, t$ | `(*batch, D)` | log-scale and translation, outputs of networks |
# | $\odot$ | | product entry by entry |
# | $J$, $J_{ij} = \partial x_i / \partial u_j$ | `(*batch, D, D)` | Jacobian of $T$ |
#
# **Direction, here and everywhere in the course:** `forward` goes from base to data and returns
# $(x, \log|\det \partial x/\partial u|)$. `inverse` goes from data to base and returns
# $(u, \log|\det \partial u/\partial x|)$. Papers differ, and so do libraries: when a sign puzzles you, ask first which
# way the author's arrow points.
#
# Every log-determinant is **one number per example**, shape `(*batch,)`, in nats.

# %% [markdown]
# ## 1 · Ten minutes on modules that return distributions
#
# From here on a base distribution is an `nn.Module`. Calling it gives a fresh `torch.distributions.Distribution`. Two
# reasons: a module can hold learnable parameters and moves with `.to()` and `.double()`; and a fresh distribution always
# sees the current parameters.

# %%
base = flowlib.StandardNormal(2)
p_u = base()
print(type(p_u).__name__, "| batch shape", tuple(p_u.batch_shape), "| event shape", tuple(p_u.event_shape))

# %% [markdown]
# A distribution splits its shape in two. The **event shape** is the shape of one draw: here `(2,)`, one point of the
# plane. The **batch shape** counts separate distributions: here `()`, a single one. `log_prob` gives one number per event.
#
# **Predict.** `Normal(torch.zeros(2), torch.ones(2))` looks like the same thing. Give it five points, a tensor of shape
# `(5, 2)`. What shape does `log_prob` return?

# %%
five_points = torch.randn(5, 2)
two_scalars = Normal(torch.zeros(2), torch.ones(2))
one_vector = Independent(two_scalars, 1)
print(
    "Normal:     ", tuple(two_scalars.log_prob(five_points).shape), "two densities on the line, side by side"
)
print("Independent:", tuple(one_vector.log_prob(five_points).shape), "one density on the plane")
print(
    "their sum agrees:",
    torch.allclose(two_scalars.log_prob(five_points).sum(-1), one_vector.log_prob(five_points)),
)

# %% [markdown]
# `Independent(…, 1)` declares the last batch axis to be part of the event, and sums the log-densities over it. Forget it,
# and a later sum adds a log-determinant of shape `(5,)` to a tensor of shape `(5, 2)`. You are lucky when that is an error. With a batch
# of two points the shapes happen to fit, and numbers are added that do not belong together.
#
# The second thing to know is the difference between `sample` and `rsample`. Both draw. `rsample` draws as
# $u = \mu + \sigma\epsilon$ with $\epsilon \sim \mathcal N(0,1)$, so that the draw has a gradient with respect to $\mu$ and
# $\sigma$ (*reparameterized*). `sample` cuts that gradient.

# %%
mean = torch.tensor([0.0, 0.0], requires_grad=True)
learnable = Independent(Normal(mean, torch.ones(2)), 1)
print(
    "rsample carries a gradient:",
    learnable.rsample().requires_grad,
    "| sample:",
    learnable.sample().requires_grad,
)

# %% [markdown]
# ## 2 · A cipher with a key
#
# You want to hide a number $u_2$ so that it can be recovered. Add a key: $x_2 = u_2 + k$. Whoever has $k$ subtracts it.
# How the key was made does not matter: nobody ever inverts the key's recipe.
#
# Where does the receiver get the key? **Let the message carry it.** Send $u_1$ in the clear and compute the key from it:
#
# $$x_1 = u_1, \qquad x_2 = u_2 + t(u_1).$$
#
# The receiver reads $u_1 = x_1$, computes the same $t(u_1)$, and subtracts. The function $t$ may be any network whatever:
# deep, not monotone, not invertible. This is the additive coupling layer of NICE (Dinh, Krueger & Bengio 2014).
#
# **Predict.** What is the Jacobian of this map, and its determinant?
#
# <details><summary>Answer</summary>
#
# $$J = \begin{pmatrix} 1 & 0 \\ t'(u_1) & 1 \end{pmatrix}, \qquad \det J = 1.$$
#
# The derivative of the network stands below the diagonal, where a triangular determinant never looks. The layer shears:
# it moves points, and no volume changes.
# </details>
#
# The same by machine, with $t$ left as an unknown function:

# %%
u1, u2 = sp.symbols("u1 u2", real=True)
t = sp.Function("t")
x_of_u = sp.Matrix([u1, u2 + t(u1)])
J = x_of_u.jacobian([u1, u2])
print("det J =", J.det())
assert J.det() == 1
J

# %% [markdown]
# With $D$ variables, a **mask** $b$ says who is key and who is message. Keep the variables with $b_i = 1$, move those with
# $b_i = 0$:
#
# $$x = b\odot u + (1-b)\odot\bigl(u + t(b\odot u)\bigr).$$
#
# Read $b \odot u$ as "what the receiver will have, too": it is the only thing that the network may look at. The network takes
# `(*batch, D)` and gives `(*batch, D)`; half of its inputs are zeros and half of its outputs are thrown away. That wastes a
# little arithmetic and saves all bookkeeping.
#
# ### Exercise 1 · The additive coupling layer
#
# Difficulty 2/5 (easy once the picture is clear) · about 10 minutes · 4 points
#
# Complete both methods. `self.translation_net` maps `(*batch, D)` to `(*batch, D)`; `self.mask` is $b$, shape `(D,)`.


# %% solution="AdditiveCouplingLayer"
class AdditiveCouplingLayer(nn.Module):
    """x = b⊙u + (1−b)⊙(u + t(b⊙u)): NICE's coupling layer.

    Args:
        translation_net: module `(*batch, D)` → `(*batch, D)`.
        mask: float tensor `(D,)`: 1 = passed through and fed to the net, 0 = moved.
    """

    def __init__(self, translation_net, mask):
        super().__init__()
        self.translation_net = translation_net
        self.register_buffer("mask", mask)  # moves with the module, is saved with it, is not trained

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        t = self.translation_net(self.mask * u)
        x = u + (1 - self.mask) * t
        return x, torch.zeros_like(u[..., 0])
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        t = self.translation_net(self.mask * x)
        u = x - (1 - self.mask) * t
        return u, torch.zeros_like(x[..., 0])
        ### END SOLUTION


# %% test="additive_keeps_masked_variables" points=1
check.additive_keeps_masked_variables(AdditiveCouplingLayer)
### BEGIN HIDDEN TESTS
check.additive_keeps_masked_variables(AdditiveCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="additive_inverse_undoes_forward" points=1
check.additive_inverse_undoes_forward(AdditiveCouplingLayer)
### BEGIN HIDDEN TESTS
check.additive_inverse_undoes_forward(AdditiveCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="additive_preserves_volume" points=1
check.additive_preserves_volume(AdditiveCouplingLayer)
### BEGIN HIDDEN TESTS
check.additive_preserves_volume(AdditiveCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="additive_formula" points=1
check.additive_formula(AdditiveCouplingLayer)
### BEGIN HIDDEN TESTS
check.additive_formula(AdditiveCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Write down who knows what. The sender knows all of $u$. The receiver knows $x$, and $x$ equals $u$ on the kept variables. So
# $b \odot x = b \odot u$: both compute the same $t$.
# </details>
# <details><summary>Help: the inverse does not undo forward</summary>
#
# Print what the network is fed in both directions for one example. If the two inputs differ, the keys differ. A common cause:
# the network sees all of $u$.
# </details>
# <details><summary>Help: my log_det has shape (B, D), or no axes at all</summary>
#
# One number per example. For an input of shape `(*batch, D)` that is `u.shape[:-1]`; `u.new_zeros(u.shape[:-1])` makes it in the
# input's dtype.
# </details>

# %% [markdown]
# ## 3 · NICE learns which directions matter
#
# Additive layers, however many, keep volume: $\log|\det J| = 0$ for the whole flow. Then the density at $x$ equals the base
# density at $u$, and no region can be made denser than the base's peak. NICE repairs this with one diagonal layer next to the base:
#
# $$x_i = e^{a_i} u_i, \qquad J = \operatorname{diag}(e^{a_1},\dots,e^{a_D}), \qquad \log|\det J| = \sum_{i=1}^D a_i ,$$
#
# with one learnable log-scale $a_i$ per variable. The exponential keeps the scale positive whatever the optimizer does to $a_i$.
# A large $a_i$ says: what the later layers make of this variable varies much in the data. A very negative one says: hardly at all.
# (The paper calls it the *last* layer. Its arrow points from data to base.)
#
# **Predict.** The log-determinant does not depend on $u$. What shape must it have all the same?
#
# ### Exercise 2 · Rescaling
#
# Difficulty 1/5 (warm-up) · about 5 minutes · 3 points
#
# Write the layer, its parameter included. Start at the identity: $a = 0$.


# %% solution="Rescaling"
class Rescaling(nn.Module):
    """x_i = exp(a_i) u_i with learnable a `(D,)`, zero at the start.

    Args:
        D: number of variables.
    """

    def __init__(self, D):
        super().__init__()
        ### BEGIN SOLUTION
        self.log_scale = nn.Parameter(torch.zeros(D))
        ### END SOLUTION

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        return u * self.log_scale.exp(), self.log_scale.sum().expand(u.shape[:-1])
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        return x * (-self.log_scale).exp(), -self.log_scale.sum().expand(x.shape[:-1])
        ### END SOLUTION


# %% test="rescaling_scales_each_variable" points=1
check.rescaling_scales_each_variable(Rescaling)
### BEGIN HIDDEN TESTS
check.rescaling_scales_each_variable(Rescaling, hidden=1)
### END HIDDEN TESTS

# %% test="rescaling_log_det_matches_jacobian" points=1
check.rescaling_log_det_matches_jacobian(Rescaling)
### BEGIN HIDDEN TESTS
check.rescaling_log_det_matches_jacobian(Rescaling, hidden=1)
### END HIDDEN TESTS

# %% test="rescaling_is_learned" points=1
check.rescaling_is_learned(Rescaling)
### BEGIN HIDDEN TESTS
check.rescaling_is_learned(Rescaling, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: "the scales must be registered as parameters"</summary>
#
# An optimizer sees what `parameters()` lists, and that lists `nn.Parameter` attributes. A plain tensor is not among them.
# </details>
# <details><summary>Help: log_det has no axes</summary>
#
# `a.sum()` is a single number. Each example of the batch gets a copy: `.expand(u.shape[:-1])` makes them without using memory.
# </details>

# %% [markdown]
# ## 4 · RealNVP: the key also scales
#
# Why should only one global layer stretch space? Let the key decide the stretch as well (Dinh, Sohl-Dickstein & Bengio 2016):
#
# $$x = b\odot u + (1-b)\odot\bigl(u\odot e^{s} + t\bigr), \qquad s = s(b\odot u),\quad t = t(b\odot u).$$
#
# *RealNVP* stands for real-valued and **n**on-**v**olume-**p**reserving.
#
# **Inverse.** For a moved variable $x_i = u_i e^{s_i} + t_i$. Undo the last step first:
#
# $$u_i = (x_i - t_i)\,e^{-s_i}.$$
#
# The networks run in the same direction both times. Only the arithmetic around them is inverted.
#
# **Determinant.** Order the variables so that the kept ones come first. Then
#
# $$J = \begin{pmatrix} I & 0 \\ \partial x_{\text{moved}}/\partial u_{\text{kept}} & \operatorname{diag}(e^{s_i}) \end{pmatrix},
# \qquad \log|\det J| = \sum_{i:\,b_i = 0} s_i = \sum_{i=1}^{D} (1-b_i)\, s_i .$$
#
# Reordering rows and columns by the same permutation changes no determinant, so the formula holds for every mask. All that is
# hard about the networks sits in the lower left block, which the determinant ignores.
#
# Check by machine, for $D = 3$ with mask $b = (1, 0, 1)$ and unknown functions $s, t$ of the kept $u_1, u_3$:

# %%
u1, u2, u3 = u_symbols = sp.symbols("u1:4", real=True)
s, t = sp.Function("s", real=True)(u1, u3), sp.Function("t", real=True)(u1, u3)
x_symbols = sp.Matrix([u1, u2 * sp.exp(s) + t, u3])
J = x_symbols.jacobian(u_symbols)
print("log|det J| =", sp.expand_log(sp.log(J.det()), force=True))
inverse_u2 = (x_symbols[1] - t) * sp.exp(-s)
assert sp.simplify(inverse_u2 - u2) == 0
assert sp.simplify(J.det() - sp.exp(s)) == 0
J

# %% [markdown]
# Look at one layer of two variables before you write it. The kept variable is called $k$; $s$ and $t$ are functions of $k$ that you choose.
#
# **Predict.** The mask is $(1, 0)$ and $s$ grows with $k$. What becomes of the vertical lines of a square grid? On which of the point's two coordinates does the log-determinant depend?
#
# <details><summary>Answer</summary>
#
# A vertical line has one value of $u_1$, and that is kept: the line stays where it is. Its points spread by one common factor $e^{s}$ and slide by one common $t$, more to the right than to the left. The
# log-determinant is $s(u_1)$: it depends on the kept coordinate alone.
# </details>

# %%
interactive.masked_coupling()

# %% [markdown]
# **Figure.** Interactive. Left: a square grid and a point in the base. Right: their images. With mask $(1, 0)$ the vertical lines stay vertical and in place, and the horizontal ones bend; with $(0, 1)$ it is the other way round.
# The layer's log-determinant agrees with the logarithm of how much a small square around the point grows. *Undo* shows a third panel: the inverse, computed from $x$ alone, gives the square grid back, whatever wave you
# have put into $t$. Nobody had to invert that wave.

# %% [markdown]
# **Where to put the mask.** Two ways of writing the forward map agree on paper:
#
# $$(1-b)\odot(u \odot e^{s} + t) \qquad\text{and}\qquad (1-b)\odot(u \odot e^{(1-b)\odot s} + t).$$
#
# **Predict.** The network gives $s_1 = 800$ on a *kept* variable. What do the two give in float64?

# %%
b, s_raw, u_example = torch.tensor([[1.0, 0.0], [800.0, 0.5], [0.3, -0.2]], dtype=torch.float64)
outside = b * u_example + (1 - b) * (u_example * s_raw.exp())
inside = b * u_example + (1 - b) * (u_example * ((1 - b) * s_raw).exp())
print("mask outside the exponential only:", outside.tolist())
print("mask inside as well:              ", inside.tolist())

# %% [markdown]
# $0\cdot\infty$ is not a number. Nothing ever trains the network's output on kept variables, so nothing keeps it small. With the mask
# inside, a kept variable is multiplied by $e^0 = 1$ whatever the network says. The form without it is correct mathematics; the checks
# accept it and advise.
#
# ### Exercise 3 · The masked coupling layer
#
# Difficulty 3/5 (the heart of this notebook) · about 20 minutes · 9 points
#
# Complete both methods. The two networks map `(*batch, D)` to `(*batch, D)`. Call each of them once per method.


# %% solution="MaskedCouplingLayer"
class MaskedCouplingLayer(nn.Module):
    """x = b⊙u + (1−b)⊙(u⊙exp((1−b)⊙s) + t) with s and t of b⊙u: RealNVP's coupling layer.

    Args:
        scale_net, translation_net: modules `(*batch, D)` → `(*batch, D)`.
        mask: float tensor `(D,)`: 1 = passed through and fed to the nets, 0 = moved.
    """

    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.scale_net = scale_net
        self.translation_net = translation_net
        self.register_buffer("mask", mask)

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        kept, moves = self.mask * u, 1 - self.mask
        s, t = moves * self.scale_net(kept), self.translation_net(kept)
        return kept + moves * (u * s.exp() + t), s.sum(-1)
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        kept, moves = self.mask * x, 1 - self.mask
        s, t = moves * self.scale_net(kept), self.translation_net(kept)
        return kept + moves * ((x - t) * (-s).exp()), -s.sum(-1)
        ### END SOLUTION


# %% test="coupling_keeps_masked_variables" points=1
check.coupling_keeps_masked_variables(MaskedCouplingLayer)
### BEGIN HIDDEN TESTS
check.coupling_keeps_masked_variables(MaskedCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="coupling_inverse_undoes_forward" points=2
check.coupling_inverse_undoes_forward(MaskedCouplingLayer)
### BEGIN HIDDEN TESTS
check.coupling_inverse_undoes_forward(MaskedCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="coupling_jacobian_structure" points=1
check.coupling_jacobian_structure(MaskedCouplingLayer)
### BEGIN HIDDEN TESTS
check.coupling_jacobian_structure(MaskedCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="coupling_log_det_matches_jacobian" points=2
check.coupling_log_det_matches_jacobian(MaskedCouplingLayer)
### BEGIN HIDDEN TESTS
check.coupling_log_det_matches_jacobian(MaskedCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="coupling_inverse_log_det_matches_jacobian" points=1
check.coupling_inverse_log_det_matches_jacobian(MaskedCouplingLayer)
### BEGIN HIDDEN TESTS
check.coupling_inverse_log_det_matches_jacobian(MaskedCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="coupling_formula" points=1
check.coupling_formula(MaskedCouplingLayer)
### BEGIN HIDDEN TESTS
check.coupling_formula(MaskedCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% test="coupling_batch_shapes" points=1
check.coupling_batch_shapes(MaskedCouplingLayer)
### BEGIN HIDDEN TESTS
check.coupling_batch_shapes(MaskedCouplingLayer, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Start from your additive layer. Compute `kept = b * u` first and give both networks exactly that.
# </details>
# <details><summary>Help: the log_det is off, and only a little</summary>
#
# The scale network has $D$ outputs. Only the moved ones stretch anything. Compare your sum with $\sum_i (1-b_i)s_i$.
# </details>
# <details><summary>Help: round trips pass, the log_det of inverse fails</summary>
#
# `inverse` reports $\log|\det \partial u/\partial x|$, the negative of the forward one **at the same pair of points**.
# </details>
# <details><summary>Help: only the batch-shape check fails</summary>
#
# `dim=1` is the axis of variables for `(B, D)` and nothing else. The variables are the last axis: `dim=-1`.
# </details>
# <details><summary>Template</summary>
#
# ```python
# kept = self.mask * u
# s = ...   # (*batch, D), zero on kept variables
# t = ...
# x = kept + (1 - self.mask) * (...)
# return x, ...
# ```
# </details>

# %% [markdown]
# ## 5 · Who moves? Masks
#
# One coupling layer leaves the kept variables as they were. Two layers with complementary masks move everything. In between, masks
# alternate: $b, 1-b, b, \dots$ In two dimensions the masks are $(1, 0)$ and $(0, 1)$: a vertical shear-and-stretch, then a horizontal one.

# %%
torch.manual_seed(5)
masks = flowlib.alternating_masks(2, 2)
nets = [flowlib.mlp([2, 24, 2], activation=nn.Tanh) for _ in range(4)]
with torch.no_grad():
    for net in nets:
        for parameter in net.parameters():
            parameter.mul_(2.0)
one_layer = flowlib.MaskedCouplingLayer(nets[0], nets[1], masks[0])
two_layers = flowlib.Flow(base, [one_layer, flowlib.MaskedCouplingLayer(nets[2], nets[3], masks[1])])
figure, axes = plt.subplots(1, 3, figsize=(10, 4), sharex=True, sharey=True)
for ax, layer, title, letter in (
    (axes[0], flowlib.Flow(base, []), "base: a square grid", "u"),
    (axes[1], one_layer, "after mask (1, 0)", "x"),
    (axes[2], two_layers, "after masks (1, 0), (0, 1)", "x"),
):
    names = {"xlabel": f"${letter}_1$", "ylabel": f"${letter}_2$"}
    plotting.plot_warped_grid(ax, layer, extent=(-2, 2, -2, 2), lines=17, title=title, **names)
plt.show()

# %% [markdown]
# **Figure.** Three panels. Left: a square grid of base points. Middle: after one coupling layer with mask (1, 0) every vertical line is
# still vertical and where it was, but points have slid and spread along it. Right: after a second layer with mask (0, 1) lines of both
# directions are bent. One layer moves points along one axis only; two layers with complementary masks move them in the plane.
#
# ### Exercise 4 · Alternating masks
#
# Difficulty 1/5 (short) · about 5 minutes · 2 points
#
# `alternating_masks(D, K)` returns K masks as a float tensor `(K, D)`. Each has at least one 0 and one 1; neighbors are complements. With
# $D < 2$ there is nothing to split: raise a `ValueError`. Which variables the first mask keeps is yours to choose.


# %% solution="alternating_masks"
def alternating_masks(D, K):
    """K masks `(K, D)`, float: neighbors are complements, each holds a 0 and a 1.

    Raises:
        ValueError: D < 2.
    """
    ### BEGIN SOLUTION
    if D < 2:
        raise ValueError(f"expected at least two variables to split, got D = {D}")
    first = (torch.arange(D) % 2).float()
    return torch.stack([first if k % 2 == 0 else 1 - first for k in range(K)])
    ### END SOLUTION


# %% test="masks_alternate" points=1
check.masks_alternate(alternating_masks)
### BEGIN HIDDEN TESTS
check.masks_alternate(alternating_masks, hidden=1)
### END HIDDEN TESTS

# %% test="masks_reject_one_dimension" points=1
check.masks_reject_one_dimension(alternating_masks)
### BEGIN HIDDEN TESTS
check.masks_reject_one_dimension(alternating_masks, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: reversing the mask works for D = 2 and fails for D = 3</summary>
#
# $(0, 1, 0)$ reversed is $(0, 1, 0)$. The complement is $1 - b$.
# </details>
#
# ### A bad mask, and what never moves
#
# What happens when every layer has the same mask? Let us train such a flow on two moons, two interleaved half circles, and look. The layers are
# `flowlib.AffineCoupling`: yours, with one network for $s$ and $t$ together and a bound on $|s|$.
#
# One network is more than shorter code: with two, a training step takes 1.7 to 2 times as long. A mask has its price, too. A masked network reads
# and computes all $D$ variables, and the mask throws part of that away. At $D = 64$ a step takes about 1.3 times as long as with `flowlib.SplitCoupling`, the same layer
# with one half of the variables kept by its index. (`make bench PART=layers` in the course's repository measures both.)
#
# **Predict.** The mask is $(1, 0)$ in all eight layers. How will $x_1$ be distributed? And $x_2$, where $x_1$ has a given value?

# %%
train, held_out = data.two_moons(4000, seed=0), data.two_moons(2000, seed=1)


def small_flow(mask_list):
    nets = [flowlib.mlp([2, 48, 48, 4], zero_last=True) for _ in mask_list]
    layers = [
        flowlib.AffineCoupling(net, m, log_scale_bound=2.0) for net, m in zip(nets, mask_list, strict=True)
    ]
    return flowlib.Flow(flowlib.StandardNormal(2), layers)


torch.manual_seed(0)
same_mask = small_flow([torch.tensor([1.0, 0.0])] * 8)
alternating = small_flow(flowlib.alternating_masks(2, 8))
for flow in (same_mask, alternating):
    flowlib.fit(flow, train, steps=1000, batch_size=256, lr=5e-3, average=0.98, max_steps=MAX_STEPS)

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharex=True, sharey=True)
extent = (-3.0, 3.0, -1.6, 2.0)  # wide enough for a standard normal x1
plotting.plot_samples(axes[0], held_out, extent=extent, title="data", xlabel="$x_1$", ylabel="$x_2$")
for ax, flow, title in (
    (axes[1], same_mask, "always mask (1, 0)"),
    (axes[2], alternating, "alternating masks"),
):
    nll = -flow.log_prob(held_out).mean().item()
    plotting.plot_samples(
        ax,
        flow.sample((2000,)),
        extent=extent,
        title=f"{title}\n{nll:.2f} nats",
        xlabel="$x_1$",
        ylabel="$x_2$",
    )
plt.show()
x1 = same_mask.sample((20000,))[:, 0]
print(f"same mask: x1 has mean {x1.mean():.2f}, standard deviation {x1.std():.2f}: still the base's")
print(f"data:      x1 has mean {held_out[:, 0].mean():.2f}, standard deviation {held_out[:, 0].std():.2f}")

# %% [markdown]
# **Figure.** Left: data, two interleaved half circles. Middle: a flow whose eight layers all have mask (1, 0). Its samples follow a
# band that bends with $x_1$, yet $x_1$ itself is still standard normal: samples run far out to both sides of the moons. And for a given $x_1$
# the band is one Gaussian in $x_2$, shifted and scaled eight times, where the data have two pieces. Right: the same flow with alternating
# masks shows two moons. Depth does not help a variable that no layer moves; the price in nats stands above each panel.

# %% [markdown]
# ## 6 · Stack the layers: a flow
#
# A flow is a base and a list of layers, **from base to data**: $x = T_K(\cdots T_2(T_1(u)))$. Write $z_0 = u$ and
# $z_k = T_k(z_{k-1})$, so $x = z_K$; every $z_k$ has shape `(*batch, D)`. By the chain rule the Jacobians multiply and their
# log-determinants add,
#
# $$\log\left|\det\frac{\partial x}{\partial u}\right| = \sum_{k=1}^{K}\log\left|\det\frac{\partial z_k}{\partial z_{k-1}}\right| ,$$
#
# each taken **at the point where the previous layer arrived**, $z_{k-1}$. (Some slides evaluate all of them at $x$: right for linear maps
# only.) The density follows from notebook 1:
#
# $$\log p_x(x) = \log p_u(u) + \log\left|\det\frac{\partial u}{\partial x}\right|, \qquad u = T^{-1}(x).$$
#
# Density needs `inverse`. Sampling needs `forward`. Maximum likelihood never runs `forward` at all.
#
# ### Exercise 5 · Flow
#
# Difficulty 3/5 (bookkeeping with consequences) · about 20 minutes · 9 points
#
# `base()` returns a distribution with event shape `(D,)`. `sample` draws without gradient, `rsample` with.


# %% solution="Flow"
class Flow(nn.Module):
    """The distribution of x = T_K(…T_1(u)), u ~ base().

    Args:
        base: module whose call returns a distribution with event shape `(D,)`.
        transformations: layers, applied in list order from base to data.
    """

    def __init__(self, base, transformations):
        super().__init__()
        ### BEGIN SOLUTION
        self.base = base
        self.transformations = nn.ModuleList(transformations)
        ### END SOLUTION

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        x, total = u, torch.zeros_like(u[..., 0])
        for layer in self.transformations:
            x, log_det = layer.forward(x)
            total = total + log_det
        return x, total
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        u, total = x, torch.zeros_like(x[..., 0])
        for layer in reversed(self.transformations):
            u, log_det = layer.inverse(u)
            total = total + log_det
        return u, total
        ### END SOLUTION

    def log_prob(self, x):
        """log p(x) in nats: x `(*batch, D)` → `(*batch,)`."""
        ### BEGIN SOLUTION
        u, log_det = self.inverse(x)
        return self.base().log_prob(u) + log_det
        ### END SOLUTION

    def sample(self, sample_shape=()):
        """Draws x `(*sample_shape, D)`, without gradient."""
        ### BEGIN SOLUTION
        with torch.no_grad():
            return self.rsample(sample_shape)
        ### END SOLUTION

    def rsample(self, sample_shape=()):
        """Draws x `(*sample_shape, D)`, with gradient to the layers' parameters."""
        ### BEGIN SOLUTION
        x, _ = self.forward(self.base().rsample(sample_shape))
        return x
        ### END SOLUTION


# %% test="flow_applies_layers_in_order" points=1
check.flow_applies_layers_in_order(Flow)
### BEGIN HIDDEN TESTS
check.flow_applies_layers_in_order(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_inverse_undoes_forward" points=1
check.flow_inverse_undoes_forward(Flow)
### BEGIN HIDDEN TESTS
check.flow_inverse_undoes_forward(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_log_dets_add_up" points=1
check.flow_log_dets_add_up(Flow)
### BEGIN HIDDEN TESTS
check.flow_log_dets_add_up(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_log_prob_is_change_of_variables" points=1
check.flow_log_prob_is_change_of_variables(Flow)
### BEGIN HIDDEN TESTS
check.flow_log_prob_is_change_of_variables(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_density_integrates_to_one" points=1
check.flow_density_integrates_to_one(Flow)
### BEGIN HIDDEN TESTS
check.flow_density_integrates_to_one(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_samples_follow_density" points=1
check.flow_samples_follow_density(Flow)
### BEGIN HIDDEN TESTS
check.flow_samples_follow_density(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_gradients_reach_every_layer" points=1
check.flow_gradients_reach_every_layer(Flow)
### BEGIN HIDDEN TESTS
check.flow_gradients_reach_every_layer(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_only_rsample_carries_gradient" points=1
check.flow_only_rsample_carries_gradient(Flow)
### BEGIN HIDDEN TESTS
check.flow_only_rsample_carries_gradient(Flow, hidden=1)
### END HIDDEN TESTS

# %% test="flow_batch_shapes" points=1
check.flow_batch_shapes(Flow)
### BEGIN HIDDEN TESTS
check.flow_batch_shapes(Flow, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: "does not list the parameters of the layers"</summary>
#
# `self.layers = transformations` stores a Python list, and `nn.Module` does not look into lists. `nn.ModuleList` registers each entry.
# </details>
# <details><summary>Help: the density integrates to 1, and samples disagree with it</summary>
#
# Two different densities can both integrate to 1. `log_prob` asks where $x$ came from: that is `inverse`. Running `forward` there gives the
# density of $T^{-1}(u)$.
# </details>
# <details><summary>Help: the sign of the log-determinant</summary>
#
# Add $\log|\det \partial u/\partial x|$, which your `inverse` returns. Subtract only if you hold $\log|\det\partial x/\partial u|$.
# </details>

# %% [markdown]
# ## 7 · Two moons, against the truth
#
# Points are drawn from two half circles and blurred by Gaussian noise of standard deviation 0.05. For this recipe the density is known: an
# integral over the angle, which `flowlib.data` computes to machine precision. So we can say not only how well a flow does, but how far it
# is from the best that **any** model can do. The yardstick is the *excess* in nats,
#
# $$\text{excess} = \frac1N\sum_{n=1}^N \bigl[\log p_{\text{true}}(x_n) - \log p_{\text{flow}}(x_n)\bigr],$$
#
# on the same $N$ test points, each shape `(D,)`. It estimates the **Kullback-Leibler divergence** of the two densities,
#
# $$\mathrm{KL}(p_{\text{true}}\,\|\,p_{\text{flow}}) = \mathbb E_{x \sim p_{\text{true}}}\bigl[\log p_{\text{true}}(x) - \log p_{\text{flow}}(x)\bigr],$$
#
# which is never negative, and zero only when the two agree.
#
# The recipe: eight affine couplings whose networks have two hidden layers of 128 units; the last layer of each network starts at zero, so that
# every coupling **starts as the identity**; one fixed affine layer at the end that brings the data's mean and scale; the optimizer Adam, with a
# step size that falls along a cosine; and at the end not the last weights but an average over the last steps.

# %%
train, test = data.two_moons(10_000, seed=10), data.two_moons(10_000, seed=11)
torch.manual_seed(0)
flow = flowlib.real_nvp(2, 8, hidden=(128, 128), data=train)

# For a film of the training: the density on a grid, now and then.
extent = data.TARGETS["two_moons"].extent
film_grid = torch.cartesian_prod(torch.linspace(*extent[:2], 100), torch.linspace(*extent[2:], 100))
film_steps, step_numbers, frames = {0, 15, 30, 60, 100, 150, 250, 400, 700, 1200}, itertools.count(), []


def filmed_loss(x):
    """Mean negative log-likelihood, like `fit`'s own; at some steps it takes a picture."""
    nll, step = -flow.log_prob(x).mean(), next(step_numbers)
    if step in film_steps:
        with torch.no_grad():
            frames.append((f"step {step}", flow.log_prob(film_grid).exp(), nll.item()))
    return nll


history = flowlib.fit(
    flow,
    train,
    loss=filmed_loss,
    steps=2000,
    batch_size=512,
    lr=2e-3,
    average=0.99,
    max_steps=MAX_STEPS,
)

with torch.no_grad():
    excess = data.two_moons_log_prob(test) - flow.log_prob(test)
nll_true = -data.two_moons_log_prob(test).mean().item()
print(f"exact density on the test set: {nll_true:.3f} nats")
print(f"flow:                          {nll_true + excess.mean().item():.3f} nats")
print(
    f"excess: {excess.mean():.3f} ± {excess.std() / math.sqrt(len(test)):.3f} nats (standard error over test points)"
)

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.2))
extent = data.TARGETS["two_moons"].extent
peak = data.two_moons_log_prob(test).exp().max().item()
plotting.plot_density(
    axes[0], data.two_moons_log_prob, extent, vmax=peak, title="exact density", xlabel="$x_1$", ylabel="$x_2$"
)
plotting.plot_density(axes[1], flow.log_prob, extent, vmax=peak, title="flow", xlabel="$x_1$", ylabel="$x_2$")
plotting.plot_samples(
    axes[2], flow.sample((3000,)), extent=extent, title="samples of the flow", xlabel="$x_1$", ylabel="$x_2$"
)
plt.show()

# %% [markdown]
# **Figure.** Three panels over the same window. Left: the exact density, two bright, thin half circles. Middle: the flow's density, nearly
# the same, except for a faint thread that joins the moons. Right: 3000 samples of the flow; a few lie on the thread. Section 9 explains why
# the thread cannot vanish.
#
# **Predict.** The flow starts as the identity: one round bump. It must become two moons. Does the bump tear first and bend later, or bend first?

# %%
with torch.no_grad():
    final_nll = -flow.log_prob(test).mean().item()
    frames.append(("after training", flow.log_prob(film_grid).exp(), final_nll))


def draw(ax, frame):
    name, density, nll = frame
    ax.imshow(density.reshape(100, 100).T, origin="lower", extent=extent, vmin=0, vmax=peak)
    ax.set(title=f"{name}: {nll:.2f} nats", xlabel="$x_1$", ylabel="$x_2$")


interactive.film(
    draw,
    frames,
    title="Two moons while training",
    description="Density of the flow over the plane, bright where it is high.",
    captions=[f"{name}, {nll:.2f} nats" for name, _, nll in frames],
    figsize=(6.0, 4.2),
)

# %% [markdown]
# **Figure.** A film to step through: the flow's density at some steps of training, with the negative log-likelihood above it (of a batch; in the last picture, of the test set with the averaged weights). First the round bump is pulled into one long band.
# The band bends into an S, thickest where the moons are. Only then does it thin out between them, and a thread remains. Nothing ever tears. Most of the nats are won in the first few hundred steps.
#
# ### How the layers do it
#
# Follow the same 3000 base points through the layers, colored by the angle they start at.

# %%
with torch.no_grad():
    points = flow.base().sample((3000,))
    start_angle = torch.atan2(points[:, 1], points[:, 0])
    stages = [points]
    couplings = [layer for layer in flow.transformations if isinstance(layer, flowlib.SplitCoupling)]
    for layer in couplings:
        stages.append(layer.forward(stages[-1])[0])
figure, axes = plt.subplots(1, 5, figsize=(11, 2.5))
for ax, k in zip(axes, (0, 2, 4, 6, 8), strict=True):
    ax.scatter(*stages[k].T, c=start_angle, cmap="twilight", s=2, rasterized=True)
    ax.set(
        title="base" if k == 0 else f"after layer {k}",
        xlabel="first variable",
        aspect="equal",
        xlim=(-3.6, 3.6),
        ylim=(-3.6, 3.6),
    )
axes[0].set_ylabel("second variable")
plt.show()

# %% [markdown]
# **Figure.** Five snapshots of the same points, from the base's round cloud to the two moons (standardized units). Colors tell the starting
# angle. The cloud is sheared, stretched and folded step by step; neighboring colors stay neighbors all the way. The map bends space and
# never cuts it.
#
# Now take the flow apart yourself, one layer at a time, and back.
#
# **Predict.** Each step moves one variable only. Carry *data* back to the base, through all layers. What does the cloud of base points look like if the flow has learned well? What would be left to see if it had not?
#
# <details><summary>Answer</summary>
#
# If $x$ has the flow's distribution, then $u = T^{-1}(x)$ is standard normal: a round cloud. Whatever structure is left in $u$, such as a gap, a bulge or a corner, is what the flow has not learned.
# </details>

# %%
interactive.composition(flow, test)

# %% [markdown]
# **Figure.** Interactive. The points of the base, 400 of them, at one stage between base and data; a slider and three buttons choose the stage. Each coupling keeps one variable: its step moves all points along the other axis only, as the line
# *last layer applied* says. The last step is the fixed affine layer, which moves both. One point is followed: its log-density changes by minus the log-determinant of each layer it passes. The grid, when shown, is folded but never cut. With
# *data, carried back* the two moons of the last stage become a cloud at the first. It is nearly round.

# %% [markdown]
# ## 8 · Three more targets, and a fragile seed
#
# The same architecture on three other distributions whose densities are known exactly. Training them here would take minutes, so
# `python -m benchmarks.flows_2d` has done it and kept the weights; the excess is computed now, from those weights.

# %%
figure, axes = plt.subplots(2, 3, figsize=(10, 6.2))
for column, name in enumerate(("eight_gaussians", "rings", "checkerboard")):
    target, trained = data.TARGETS[name], flowlib.load_flow_2d(name)
    x = target.sample(5000, seed=99)
    with torch.no_grad():
        difference = target.log_prob(x) - trained.log_prob(x)
    peak = target.log_prob(x).exp().max().item()
    title = name.replace("_", " ")
    plotting.plot_density(
        axes[0, column],
        target.log_prob,
        target.extent,
        vmax=peak,
        title=f"{title}: exact",
        xlabel="$x_1$",
        ylabel="$x_2$",
    )
    plotting.plot_density(
        axes[1, column],
        trained.log_prob,
        target.extent,
        vmax=peak,
        title=f"flow, excess {difference.mean():.2f} nats",
        xlabel="$x_1$",
        ylabel="$x_2$",
    )
plt.show()

# %% [markdown]
# **Figure.** Top row: exact densities of eight Gaussians on a circle, of two concentric rings, and of a checkerboard. Bottom row: the trained
# flows, in the same colors. All are recognizable. Eight Gaussians and rings are joined by faint bridges; the checkerboard's sharp edges are blurred. The excess
# above each panel says what that costs.
#
# ### One seed is not a result
#
# The first flow you write will probably start from PyTorch's random initialization, without gradient clipping or averaging. How much does the
# outcome then depend on the seed? `python -m benchmarks.flows_2d` trained that flow and the recipe above on two moons, five seeds each.

# %%
runs = flowlib.load_results("flows_2d")["two_moons"]
recipes = {
    "plain": "random start, constant rate,\nno clipping, no averaging",
    "identity": "identity start, cosine rate,\nclipping, averaging",
}
figure, ax = plt.subplots(figsize=(8, 2.6))
for row, recipe in enumerate(recipes):
    values = np.array([run["excess"] for run in runs[recipe]])
    ax.scatter(values, np.full(len(values), row), s=45)
    error = values.std(ddof=1) / math.sqrt(len(values))
    print(
        f"{recipe:9s} excess {values.mean():.3f} ± {error:.3f} nats (mean ± standard error over {len(values)} seeds), worst {values.max():.3f}"
    )
ax.set(
    title="Two moons after 2000 steps, one point per seed",
    xlabel="excess over the exact density (nats)",
    ylim=(-0.5, 1.5),
    xlim=(0, None),
)
ax.set_yticks(range(len(recipes)), recipes.values())
plt.show()

# %% [markdown]
# **Figure.** Excess of ten trained flows, one point per seed. The plain recipe scatters widely; the one that starts as the identity, with
# clipping and averaged weights, lies close together at a small excess. The architecture is the same. A comparison of flows on one seed
# each can show anything.

# %% [markdown]
# ## 9 · A bijection cannot tear space
#
# The base is one connected blob. $T$ is continuous with a continuous inverse, so the set where the flow has density is connected, too (Cornish
# et al. 2020 say what follows from that). Data in two separate pieces can be matched only approximately: some probability must stay on a
# **bridge** between them. Let us measure it. The target is an equal mixture of two Gaussians at $(\pm 2, 0)$ with standard deviation 0.3. Between
# them, in the band $|x_1| < 1$, the truth has almost no probability.

# %%
two_blobs = flowlib.MixtureOfGaussians.from_components(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), 0.3)
blob_data = two_blobs().sample((5000,))
right_blob = Normal(2.0, 0.3)  # by symmetry the left one has the same mass in the band
exact_band = (right_blob.cdf(torch.tensor(1.0)) - right_blob.cdf(torch.tensor(-1.0))).item()


def band_mass(flow, n=100_000):
    """Probability of |x1| < 1 under the flow, from n samples, with its standard error."""
    share = (flow.sample((n,))[:, 0].abs() < 1).double().mean().item()
    return share, math.sqrt(share * (1 - share) / n)


torch.manual_seed(1)
# Two components side by side; where they end up, how wide and how heavy they are is learned with the flow.
two_pieces = flowlib.MixtureOfGaussians.from_components(
    torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.5, learnable=True
)
blob_flows = {
    "one Gaussian": flowlib.real_nvp(2, 6, hidden=(32, 32), data=blob_data),
    "mixture of two": flowlib.real_nvp(2, 6, hidden=(32, 32), data=blob_data, base=two_pieces),
}
print(f"truth:                probability of the band {exact_band:.5f}")
for name, blob_flow in blob_flows.items():
    flowlib.fit(blob_flow, blob_data, steps=800, batch_size=256, lr=5e-3, average=0.98, max_steps=MAX_STEPS)
    mass, error = band_mass(blob_flow)
    print(f"base {name:15s}: probability of the band {mass:.5f} ± {error:.5f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
for ax, (name, blob_flow) in zip(axes, blob_flows.items(), strict=True):
    plotting.plot_density(
        ax, blob_flow.log_prob, (-3.2, 3.2, -1.6, 1.6), title=f"base: {name}", xlabel="$x_1$", ylabel="$x_2$"
    )
    ax.axvspan(-1, 1, color="white", alpha=0.12)
plt.show()

# %% [markdown]
# **Figure.** Two trained flows on two separate blobs; the band $|x_1| < 1$ is shaded. With a Gaussian base the density shows a bridge
# through the band. With a mixture base of two components there is none to be seen: the base already has two pieces, and the flow only has to carry each to its
# place. The printed probabilities say the same in numbers.
#
# The bridge shrinks with more layers, since steeper maps stretch it thinner, and steeper maps are harder to train and to invert. Where data
# come in clusters, a base with clusters is the cheaper answer. Notebook 5 meets the same idea as a prior.

# %% [markdown]
# ## 10 · The clinic
#
# Six layers with $D = 4$ are in the waiting room: `clinic.patient("A")` to `clinic.patient("F")`. They run, they have the right shapes, and most
# of them break something. Three properties can fail **independently of each other**:
#
# - `"round trip"`: inverse undoes forward, and forward undoes inverse;
# - `"forward log_det"`: it is $\log|\det\partial x/\partial u|$;
# - `"inverse log_det"`: it is $\log|\det\partial u/\partial x|$, for the map that `inverse` computes.
#
# Your instruments are in `flowlib.verify`. They call the layer and compare numbers:

# %%
rng = np.random.default_rng(0)
healthy = flowlib.MaskedCouplingLayer(
    flowlib.mlp([4, 8, 4]), flowlib.mlp([4, 8, 4]), flowlib.alternating_masks(4, 1)[0]
).double()
points = rng.normal(size=(32, 4))
print("round trip error:    ", verify.round_trip_error(healthy.forward, healthy.inverse, points))
print("forward log_det error:", verify.log_det_error(healthy.forward, points))
print(verify.check_layer(healthy, D=4))

# %% [markdown]
# ### Exercise 6 · Find the error
#
# Difficulty 2/5 (measuring) · about 15 minutes · 1 point
#
# Examine the patients in a cell of your own. `diagnose()` returns a dict: patient → list of the properties it breaks (an empty list for a healthy
# one). One of them is the layer of a popular teaching repository: it splits the variables even/odd, and joins them as halves.


# %% solution="diagnose"
def diagnose():
    """Patient → list of broken properties, out of "round trip", "forward log_det", "inverse log_det"."""
    ### BEGIN SOLUTION
    return {
        "A": ["round trip"],
        "B": ["forward log_det", "inverse log_det"],
        "C": [],
        "D": ["inverse log_det"],
        "E": ["round trip"],
        "F": ["forward log_det"],
    }
    ### END SOLUTION


# %% test="diagnosis_is_right" points=1
check.diagnosis_is_right(diagnose)
### BEGIN HIDDEN TESTS
check.diagnosis_is_right(diagnose, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which points should I use?</summary>
#
# Many random ones. And test a log-determinant against the Jacobian of the *same* method: `verify.log_det_error(layer.inverse, points)` for the
# inverse.
# </details>
#
# ### Exercise 7 · Write the test
#
# Difficulty 4/5 (think like a grader) · about 20 minutes · 4 points
#
# `is_valid_layer(forward, inverse, D)` gets two functions, tensors `(B, D)` in, `(tensor (B, D), tensor (B,))` out, in float64, and returns `True` or `False`.
# You cannot look inside, and no gradient flows through them: use `verify.numerical_jacobian(f, points)`, with `f` from array `(B, D)` to array
# `(B, D)`. Your test is run on layers it has not seen; it must reject every broken one and accept every healthy one, whether coupling or not.
# Healthy layers are among those of every check: a test that rejects everything has seen nothing.


# %% solution="is_valid_layer"
def is_valid_layer(forward, inverse, D):
    """True when both round trips hold and both log_dets are those of their Jacobians.

    Args:
        forward, inverse: tensor `(B, D)` → (tensor `(B, D)`, log_det `(B,)`), float64.
        D: number of variables.
    """
    ### BEGIN SOLUTION
    points = 2 * torch.randn(64, D, dtype=torch.float64)
    for there, back in ((forward, inverse), (inverse, forward)):
        y, log_det = there(points)
        if not torch.allclose(back(y)[0], points, rtol=1e-8, atol=1e-8):
            return False
        jacobian = verify.numerical_jacobian(
            lambda a, f=there: f(torch.as_tensor(a))[0].numpy(), points.numpy()
        )
        expected = torch.linalg.slogdet(torch.as_tensor(jacobian)).logabsdet
        if not torch.allclose(log_det, expected, rtol=1e-5, atol=1e-5):
            return False
    return True
    ### END SOLUTION


# %% test="property_test_accepts_healthy_layers" points=1
check.property_test_accepts_healthy_layers(is_valid_layer)
### BEGIN HIDDEN TESTS
check.property_test_accepts_healthy_layers(is_valid_layer, hidden=1)
### END HIDDEN TESTS

# %% test="property_test_sees_broken_round_trips" points=1
check.property_test_sees_broken_round_trips(is_valid_layer)
### BEGIN HIDDEN TESTS
check.property_test_sees_broken_round_trips(is_valid_layer, hidden=1)
### END HIDDEN TESTS

# %% test="property_test_sees_wrong_log_dets" points=1
check.property_test_sees_wrong_log_dets(is_valid_layer)
### BEGIN HIDDEN TESTS
check.property_test_sees_wrong_log_dets(is_valid_layer, hidden=1)
### END HIDDEN TESTS

# %% test="property_test_sees_log_dets_that_cancel" points=1
check.property_test_sees_log_dets_that_cancel(is_valid_layer)
### BEGIN HIDDEN TESTS
check.property_test_sees_log_dets_that_cancel(is_valid_layer, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: a healthy layer is rejected</summary>
#
# Floating-point numbers are rounded, and central differences have an error near $10^{-9}$ of their own. Compare with `torch.allclose`, a tolerance of about
# $10^{-8}$ for round trips and $10^{-5}$ for log-determinants.
# </details>
# <details><summary>Help: one broken round trip passes</summary>
#
# A layer may be right near the origin and wrong farther out. Test many points, spread wider than the standard normal.
# </details>
#
# ### Exercise 8 · In your own words
#
# Difficulty 2/5 (writing) · about 10 minutes · 2 points, graded by hand
#
# The networks $s$ and $t$ may be anything, even functions that cannot be inverted. (a) Why is the layer invertible all the same? (b) What can a single
# coupling layer not do, whatever its networks?
#
# *What we look for.* One point for (a): the networks are evaluated on kept variables, which both directions know; given $s$ and $t$ the moved variables
# undergo an affine map with positive slope. One point for (b): a true limitation with its reason, such as: the kept variables' distribution does not
# change; the map of the moved variables is affine given the kept ones, so a conditional stays Gaussian if it was; it cannot tear space.

# %% [markdown] manual="why_any_network" points=2
# ### BEGIN SOLUTION
# (a) The networks see only $b\odot u$, which passes through unchanged, so that $b\odot x = b\odot u$ and the way back can compute the same $s$ and $t$.
# Given these numbers, each moved variable is mapped by $u_i \mapsto u_ie^{s_i}+t_i$, a line with positive slope, which is inverted by hand.
#
# (b) The distribution of the kept variables stays what it was. Given them, the moved ones are only shifted and scaled: with a Gaussian base their conditional
# distribution stays Gaussian. It takes several layers with other masks to get out of this family.
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - A coupling layer keeps some variables and lets them decide how the others move. The networks are never inverted.
# - Its Jacobian is triangular up to a reordering: $\log|\det J| = \sum_i (1-b_i)s_i$, one number per example.
# - Masks must alternate. What no layer moves keeps the base's distribution.
# - A flow applies layers from base to data, adds log-determinants where the point has arrived, and evaluates density through `inverse`.
# - A continuous bijection carries connected sets to connected sets: between modes a bridge remains, unless the base has modes itself.
# - Round trip, forward log-det and inverse log-det are three separate properties. Test each against something independent of the code.
#
# **Common mistakes**: the log-det counts kept variables · the inverse unscales before it subtracts · the networks see everything · `dim=1` for `dim=-1` ·
# layers in a plain list · `log_prob` through `forward` · $e^s$ forgotten · masks reversed instead of complemented · comparing two log-dets with each
# other instead of with the Jacobian.
#
# ## References
#
# - L. Dinh, D. Krueger, Y. Bengio, *NICE: Non-linear Independent Components Estimation*, 2014, arXiv:1410.8516.
# - L. Dinh, J. Sohl-Dickstein, S. Bengio, *Density estimation using Real NVP*, 2016, arXiv:1605.08803.
# - G. Papamakarios, E. Nalisnick, D. J. Rezende, S. Mohamed, B. Lakshminarayanan, *Normalizing Flows for Probabilistic Modeling and Inference*, 2021, arXiv:1912.02762.
# - R. Cornish, A. Caterini, G. Deligiannidis, A. Doucet, *Relaxing Bijectivity Constraints with Continuously Indexed Normalising Flows*, 2020, arXiv:1909.13833.
