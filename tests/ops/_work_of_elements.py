"""What elementwise ops do for each element, from the tables of docs/definitions.md.

``relu`` is ``aten.relu.default`` and, unless ``relu_`` is named too, ``aten.relu_.default``. Several works are those of
the rule's examples, in their order; one is that of all. ``tests/ops/test_work.py`` holds the rules to it.
"""

from __future__ import annotations

from costmodel.quantities import Work

ADD, MUL, DIV, CMP, TR = (
    Work(adds=1), Work(multiplies=1), Work(divides=1), Work(compares=1), Work(transcendentals=1)
)  # fmt: skip
SIGMOID = TR + ADD + DIV
HARD_SIGMOID = ADD + CMP.times(2) + DIV
GELU = MUL.times(3) + TR + ADD
GELU_TANH = MUL.times(6) + ADD.times(2) + TR
ELU = CMP + TR + ADD + MUL
LOG_ADD_EXP = CMP + ADD.times(3) + TR.times(2)  # m + log(1 + exp(l - m)) of the greater m and the lesser l
SINE_WINDOW = MUL.times(2) + TR + ADD
KAISER = MUL.times(3) + ADD.times(2) + TR.times(2) + DIV
FAKE_QUANTISE = MUL.times(2) + ADD.times(2) + CMP.times(2)

_FUNCTIONS = """
    exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh
    erf erfc erfinv lgamma digamma atan2
    i0 special_i0e special_i1 special_i1e special_erfcx special_ndtri special_log_ndtr special_airy_ai
    special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1 special_modified_bessel_i0
    special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1
    special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 special_spherical_bessel_j0
    igamma igammac special_zeta polygamma gcd
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w special_hermite_polynomial_h
    special_hermite_polynomial_he special_laguerre_polynomial_l special_legendre_polynomial_p
"""

_PER_ELEMENT: dict[str, Work | tuple[Work, ...]] = {
    # arithmetic
    "add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Tensor rsub.Scalar": ADD,
    "mul.Tensor mul.Scalar square deg2rad rad2deg": MUL,
    "div.Tensor div.Scalar div.Tensor_mode div.Scalar_mode reciprocal floor_divide floor_divide.Tensor"
    " floor_divide.Scalar remainder.Tensor remainder.Scalar fmod.Tensor fmod.Scalar": DIV,
    "addcmul": (MUL + ADD, MUL.times(2) + ADD),  # by 1; by 2
    "addcdiv": DIV + ADD,
    "lerp.Scalar lerp.Tensor": ADD.times(2) + MUL,
    "pow.Tensor_Scalar": (MUL, TR),  # x^2; x^0.5
    "pow_.Scalar": (MUL, TR),
    "pow.Tensor_Tensor pow_.Tensor pow.Scalar": TR,  # x^y; 2^x
    "round.decimals": MUL + DIV,
    "polar": TR.times(2) + MUL.times(2),  # r cos t, r sin t
    "hypot": MUL.times(2) + ADD + TR,  # sqrt(a a + b b)
    # comparisons
    "maximum minimum fmax fmin equal isnan isneginf isposinf heaviside": CMP,
    "eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor": CMP,
    "eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar": CMP,
    "clamp": (CMP.times(2), CMP),  # two bounds; one
    "clamp.Tensor clamp_min clamp_max clamp_min.Tensor clamp_max.Tensor": CMP,
    "isinf isfinite": (CMP, CMP.times(2)),  # of a real number; of both parts of a complex one
    "nan_to_num": CMP.times(3),  # with NaN and both infinities
    # functions
    _FUNCTIONS: TR,
    "angle": TR,  # real or complex: atan2
    "logaddexp logaddexp2": LOG_ADD_EXP,
    "xlogy.Tensor special_entr special_xlog1py ldexp.Tensor ldexp": TR + MUL,
    "lcm": TR + MUL + DIV,
    "sinc": MUL + TR + DIV,  # sin(pi x) / (pi x)
    "mvlgamma": TR + ADD,  # of order 1
    # activations
    "relu threshold": CMP,
    "relu6 hardtanh hardshrink": CMP.times(2),
    "leaky_relu rrelu rrelu_with_noise _prelu_kernel": CMP + MUL,
    "sigmoid": SIGMOID,
    "silu": SIGMOID + MUL,
    "mish": TR.times(3) + ADD + MUL,
    "softplus": MUL + TR.times(2) + ADD + DIV + CMP,
    "softshrink": CMP.times(2) + ADD,
    "hardsigmoid": HARD_SIGMOID,
    "hardswish": HARD_SIGMOID + MUL,
    "elu": ELU,
    "selu": ELU + MUL,
    "celu": ELU + DIV,
    "logit": CMP.times(2) + ADD + DIV + TR,  # clamped; log(x / (1 - x))
    "log_sigmoid": TR.times(2) + ADD,
    "gelu": (GELU, GELU_TANH),
    "glu": SIGMOID + MUL,
    "native_dropout": (MUL.times(2), Work()),  # in training; not
    "native_dropout_backward": MUL.times(2),
    # random numbers, windows, quantisation
    "bernoulli bernoulli.Tensor": CMP,
    "normal.Tensor_float normal.float_Tensor normal.Tensor_Tensor": MUL + ADD,
    "hann_window hann_window.periodic hamming_window hamming_window.periodic": SINE_WINDOW,
    "hamming_window.periodic_alpha hamming_window.periodic_alpha_beta": SINE_WINDOW,
    "blackman_window blackman_window.periodic": MUL.times(4) + TR.times(2) + ADD.times(2),
    "bartlett_window bartlett_window.periodic": MUL + ADD.times(2),
    "kaiser_window kaiser_window.periodic kaiser_window.beta": KAISER,
    "fake_quantize_per_tensor_affine_cachemask _fake_quantize_per_tensor_affine_cachemask_tensor_qparams"
    " fake_quantize_per_channel_affine_cachemask": FAKE_QUANTISE,
}  # fmt: skip

PER_ELEMENT = {name: work for names, work in _PER_ELEMENT.items() for name in names.split()}
"""The work of one output element by op."""
