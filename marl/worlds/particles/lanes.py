"""Numbers that hold one value for each of many worlds.

A lane is one world. `Lanes(dtype, width)` is a number type for numba: the values of sixteen worlds
in one SIMD register, or the value of a single world (width 1). Code with `load`, `store`, `where`,
`minimum`... reads like code for one world, and the compiler turns every operation into one vector
instruction. There is one rule: no `if` on a value that differs between worlds. Use `where`, or
`anywhere(condition)` to skip work that no lane needs.

Arrays keep the lanes on their last axis: `load(a, (i, c))` on `a[n, 2, WIDTH]` gives all lanes, on
`a[n, 2]` the single lane. So the same source serves both. Arithmetic keeps the dtype of the array
and has the same order in each lane at either width, so results are equal to the last bit.

Uncompiled (NUMBA_DISABLE_JIT=1), the same functions work on numpy arrays, for a debugger. (So do
Python's operators, but not its `not`, `min` and `max`, which lanes take when compiled.)
"""

import math
import operator
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, lower_cast, models, register_model
from numba.extending import overload as numba_overload

WIDTH = 16  # float32 lanes of one AVX-512 register; narrower machines use several registers

# Entries for calls from Python and C would only cost time to compile.
BARE: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
overload = partial(numba_overload, jit_options=BARE)  # type: ignore[arg-type]
inline = njit(forceinline=True, **BARE)
"""Compile a small function into its callers, so that its lanes stay in registers."""


# --------------------------------------------------------------------------------------- the types


class Lanes(types.Type):
    """A float of `dtype` in each of `width` lanes."""

    def __init__(self, dtype: types.Float, width: int) -> None:
        self.dtype = dtype
        self.width = width
        super().__init__(name=f"Lanes({dtype}, {width})")

    def unify(self, typingctx, other):
        """`total = 0.0` followed by `total = total + x` makes `total` lanes from the start."""
        return self if isinstance(other, types.Number) else None


class Mask(types.Type):
    """A yes or no in each lane; remembers the dtype so that `where(mask, 1.0, 0.0)` has one."""

    def __init__(self, dtype: types.Float, width: int) -> None:
        self.dtype = dtype
        self.width = width
        super().__init__(name=f"Mask({dtype}, {width})")


def _vector(element: ir.Type, width: int) -> ir.Type:
    return element if width == 1 else ir.VectorType(element, width)


def llvm_type(lanes: Lanes) -> ir.Type:
    return _vector(ir.FloatType() if lanes.dtype == types.float32 else ir.DoubleType(), lanes.width)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, llvm_type(lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, mask):
        super().__init__(manager, mask, _vector(ir.IntType(1), mask.width))


def splat(builder, value, width):
    """The scalar `value` in every lane."""
    if width == 1:
        return value
    vector = ir.VectorType(value.type, width)
    index = ir.IntType(32)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, index(0))
    zeros = ir.Constant(ir.VectorType(index, width), [0] * width)
    return builder.shuffle_vector(first, first, zeros)


@lower_cast(types.Number, Lanes)
def _number_to_lanes(context, builder, source, target, value):
    return splat(builder, context.cast(builder, value, source, target.dtype), target.width)


@intrinsic
def _lift(typingctx, like, x):
    """`x` as lanes of the kind of `like` (lanes or mask)."""
    lanes = Lanes(like.dtype, like.width)
    if isinstance(x, Lanes):
        return lanes(like, x), lambda context, builder, signature, args: args[1]

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[1], signature.args[1], lanes)

    return lanes(like, x), codegen


# ---------------------------------------------------------------------------------- load and store


def full_like(x, value):
    """The number `value` in every lane of `x`."""
    return np.full_like(x, value)


@overload(full_like)
def _ol_full_like(x, value):
    return lambda x, value: _lift(x, value)


@intrinsic
def _lane(typingctx, x, w):
    def codegen(context, builder, signature, args):
        return args[0] if x.width == 1 else builder.extract_element(args[0], args[1])

    return (x.dtype if isinstance(x, Lanes) else types.boolean)(x, w), codegen


@intrinsic
def _with_lane(typingctx, x, w, value):
    def codegen(context, builder, signature, args):
        number = context.cast(builder, args[2], value, x.dtype)
        return number if x.width == 1 else builder.insert_element(args[0], number, args[1])

    return x(x, w, value), codegen


def width(x):
    """How many lanes `x` has."""
    return np.size(x)


@overload(width)
def _ol_width(x):
    count = x.width
    return lambda x: count


def lane(x, w):
    """The number in lane `w`."""
    return np.atleast_1d(x)[w]


@overload(lane)
def _ol_lane(x, w):
    return lambda x, w: _lane(x, w)


def with_lane(x, w, value):
    """`x` with the number `value` in lane `w`."""
    changed = np.atleast_1d(x).copy()
    changed[w] = value
    return changed.reshape(np.shape(x))


@overload(with_lane)
def _ol_with_lane(x, w, value):
    return lambda x, w, value: _with_lane(x, w, value)


# -------------------------------------------------------------------------------------- arithmetic


def _either(a, b, kind):
    return isinstance(a, kind) or isinstance(b, kind)


def _arithmetic(operation, in_place, instruction):
    @intrinsic
    def apply(typingctx, a, b):
        return a(a, b), lambda context, builder, signature, args: getattr(builder, instruction)(
            *args
        )

    @overload(in_place)
    @overload(operation)
    def _ol(a, b):
        if isinstance(a, Lanes):
            return lambda a, b: apply(a, _lift(a, b))
        if isinstance(b, Lanes):
            return lambda a, b: apply(_lift(b, a), b)


def _comparison(operation, symbol):
    def codegen(context, builder, signature, args):
        compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
        return compare(symbol, *args)

    @intrinsic
    def apply(typingctx, a, b):
        return Mask(a.dtype, a.width)(a, b), codegen

    @overload(operation)
    def _ol(a, b):
        if isinstance(a, Lanes):
            return lambda a, b: apply(a, _lift(a, b))
        if isinstance(b, Lanes):
            return lambda a, b: apply(_lift(b, a), b)


def _logic(operation, instruction):
    @intrinsic
    def apply(typingctx, a, b):
        return a(a, b), lambda context, builder, signature, args: getattr(builder, instruction)(
            *args
        )

    @overload(operation)
    def _ol(a, b):
        if isinstance(a, Mask) and isinstance(b, Mask):
            return lambda a, b: apply(a, b)


_arithmetic(operator.add, operator.iadd, "fadd")
_arithmetic(operator.sub, operator.isub, "fsub")
_arithmetic(operator.mul, operator.imul, "fmul")
_arithmetic(operator.truediv, operator.itruediv, "fdiv")
_comparison(operator.lt, "<")
_comparison(operator.le, "<=")
_comparison(operator.gt, ">")
_comparison(operator.ge, ">=")
_comparison(operator.eq, "==")
_comparison(operator.ne, "!=")
_logic(operator.and_, "and_")
_logic(operator.or_, "or_")


@overload(operator.neg)
def _ol_neg(x):
    if isinstance(x, Lanes):
        return lambda x: 0.0 - x


@intrinsic
def _opposite(typingctx, mask):
    return mask(mask), lambda context, builder, signature, args: builder.not_(*args)


@overload(operator.not_)
@overload(operator.invert)
def _ol_not(x):
    if isinstance(x, Mask):
        return lambda x: _opposite(x)


@intrinsic
def _select(typingctx, condition, a, b):
    return a(condition, a, b), lambda context, builder, signature, args: builder.select(*args)


def where(condition, a, b):
    """`a` in the lanes where the condition holds, `b` elsewhere."""
    return np.where(condition, a, b)


@overload(where)
def _ol_where(condition, a, b):
    if isinstance(condition, Mask):
        return lambda condition, a, b: _select(condition, _lift(condition, a), _lift(condition, b))


def minimum(a, b):
    """The smaller value in each lane; a NaN in `a` stays."""
    return np.where(b < a, b, a)


def maximum(a, b):
    """The larger value in each lane; a NaN in `a` stays."""
    return np.where(b > a, b, a)


@overload(min)
@overload(minimum)
def _ol_minimum(a, b):
    if _either(a, b, Lanes):
        return lambda a, b: where(b < a, b, a)


@overload(max)
@overload(maximum)
def _ol_maximum(a, b):
    if _either(a, b, Lanes):
        return lambda a, b: where(b > a, b, a)


@intrinsic
def _anywhere(typingctx, mask):
    def codegen(context, builder, signature, args):
        if mask.width == 1:
            return args[0]
        bits = ir.IntType(mask.width)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), bits(0))

    return types.boolean(mask), codegen


def anywhere(mask):
    """Whether the condition holds in any lane."""
    return bool(np.any(mask))


@overload(anywhere)
def _ol_anywhere(mask):
    return lambda mask: _anywhere(mask)


def _unary(name):
    """An instruction of LLVM on every lane."""

    @intrinsic
    def apply(typingctx, x):
        def codegen(context, builder, signature, args):
            kind = llvm_type(x)
            lanes = "" if x.width == 1 else f"v{x.width}"
            function = ir.FunctionType(kind, [kind])
            full_name = f"llvm.{name}.{lanes}f{x.dtype.bitwidth}"
            called = cgutils.get_or_insert_function(builder.module, function, full_name)
            return builder.call(called, args)

        return x(x), codegen

    return apply


_sqrt, _absolute = _unary("sqrt"), _unary("fabs")


@overload(abs)
def _ol_abs(x):
    if isinstance(x, Lanes):
        return lambda x: _absolute(x)


def sqrt(x):
    """Square root in each lane, correctly rounded."""
    return np.sqrt(x)


@overload(sqrt)
def _ol_sqrt(x):
    if isinstance(x, Lanes):
        return lambda x: _sqrt(x)
    return lambda x: math.sqrt(x)


def exp(x):
    """The exponential in each lane."""
    return np.exp(x)


@overload(exp)
def _ol_exp(x):
    if not isinstance(x, Lanes):
        return lambda x: math.exp(x)

    def each(x):
        found = full_like(x, 0.0)
        for w in range(width(x)):
            found = with_lane(found, w, math.exp(lane(x, w)))
        return found

    return each
