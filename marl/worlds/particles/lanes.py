"""Numbers that stand for many worlds at once.

A lane is one world. `Lanes(dtype, width)` is a number type for numba: sixteen worlds' values in one
SIMD register, or the value of a single world (width 1). Code written with `load`, `store`, `where`,
`minimum`... reads like code for one world, and the compiler turns every operation into one vector
instruction. There is one rule to remember: no `if` on a value that differs between worlds; use
`where` (or `anywhere(condition)`, to skip work that no lane needs).

Arrays keep the lanes on their last axis: `load(a, (i, c))` on `a[n, 2, WIDTH]` gives all lanes, on
`a[n, 2]` the single lane, so the same source serves both. Arithmetic never leaves the array's dtype
and is done per lane in the same order at either width: results are equal to the last bit.

Uncompiled (NUMBA_DISABLE_JIT=1), the same functions work on numpy arrays, for a debugger.
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


def _llvm_type(lanes: Lanes) -> ir.Type:
    return _vector(ir.FloatType() if lanes.dtype == types.float32 else ir.DoubleType(), lanes.width)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, _llvm_type(lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, mask):
        super().__init__(manager, mask, _vector(ir.IntType(1), mask.width))


def _splat(builder, value, width):
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
    return _splat(builder, context.cast(builder, value, source, target.dtype), target.width)


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


def _index_types(index):
    return tuple(index) if isinstance(index, types.BaseTuple) else (index,)


def _loaded(array, index) -> Lanes:
    """What `array[index]` holds: WIDTH lanes if the last axis is left over, else one."""
    missing = array.ndim - len(_index_types(index))
    if missing not in (0, 1):
        raise TypeError("an index names every axis of an array except, perhaps, the lanes")
    return Lanes(array.dtype, WIDTH if missing else 1)


def _pointer(context, builder, array_type, array, index_type, index, lanes):
    """Where the lanes of `array[index]` begin, as a pointer to their LLVM type."""
    kinds = _index_types(index_type)
    values = (
        cgutils.unpack_tuple(builder, index) if isinstance(index_type, types.BaseTuple) else [index]
    )
    values = [context.cast(builder, v, t, types.intp) for v, t in zip(values, kinds, strict=True)]
    if len(values) < array_type.ndim:
        values.append(context.get_constant(types.intp, 0))
    box = context.make_array(array_type)(context, builder, array)
    place = cgutils.get_item_pointer(context, builder, array_type, box, values)
    return builder.bitcast(place, _llvm_type(lanes).as_pointer())


@intrinsic
def _load(typingctx, array, index):
    lanes = _loaded(array, index)

    def codegen(context, builder, signature, args):
        place = _pointer(context, builder, array, args[0], index, args[1], lanes)
        value = builder.load(place)
        value.align = array.dtype.bitwidth // 8
        return value

    return lanes(array, index), codegen


@intrinsic
def _store(typingctx, array, index, value):
    lanes = _loaded(array, index)

    def codegen(context, builder, signature, args):
        place = _pointer(context, builder, array, args[0], index, args[1], lanes)
        lifted = context.cast(builder, args[2], value, lanes) if value != lanes else args[2]
        builder.store(lifted, place).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


def load(array, index):
    """The lanes at `array[index]`."""
    return array[index].copy()


def store(array, index, value):
    """Put lanes, or one number for all lanes, at `array[index]`."""
    array[index] = value


@overload(load)
def _ol_load(array, index):
    return lambda array, index: _load(array, index)


@overload(store)
def _ol_store(array, index, value):
    return lambda array, index, value: _store(array, index, value)


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


@intrinsic
def _borrow(typingctx, array):
    def codegen(context, builder, signature, args):
        box = context.make_array(array)(context, builder, args[0])
        box.meminfo = ir.Constant(box.meminfo.type, None)
        box.parent = ir.Constant(box.parent.type, None)
        return box._getvalue()

    return array(array), codegen


def borrow(array):
    """The same array without a count of its users, which numba would otherwise raise and lower, by
    atomic instructions, whenever the array is handed on. Only for arrays that someone else keeps
    alive."""
    return array


@overload(borrow)
def _ol_borrow(array):
    if isinstance(array, types.Array):
        return lambda array: _borrow(array)
    return lambda array: array


def one_world(array, world):
    """World number `world` of `array[block, body, axis, lane]` or `array[world, body, axis]`, as a
    view without lanes."""
    if array.ndim == 3:
        return array[world]
    return array[world // WIDTH, :, :, world % WIDTH]


@overload(one_world)
def _ol_one_world(array, world):
    if array.ndim == 3:
        return lambda array, world: array[world]
    return lambda array, world: array[world // WIDTH, :, :, world % WIDTH]


def element(array, index, w):
    """The number of lane `w` at `array[index]`."""
    return np.atleast_1d(array[index])[w]


@overload(element)
def _ol_element(array, index, w):
    if _loaded(array, index).width == 1:
        return lambda array, index, w: array[index]
    if isinstance(index, types.BaseTuple):
        return lambda array, index, w: array[index + (w,)]
    return lambda array, index, w: array[index, w]


def put_element(array, index, w, value):
    """Put a number into lane `w` at `array[index]`."""
    array[index if np.ndim(array[index]) == 0 else (*np.atleast_1d(index), w)] = value


@overload(put_element)
def _ol_put_element(array, index, w, value):
    if _loaded(array, index).width == 1:

        def put(array, index, w, value):
            array[index] = value

    elif isinstance(index, types.BaseTuple):

        def put(array, index, w, value):
            array[index + (w,)] = value

    else:

        def put(array, index, w, value):
            array[index, w] = value

    return put


def gather(array, index, c, otherwise):
    """`array[index, c]` with an index of its own in each lane (a float holding a whole number);
    `otherwise` where the index is negative."""
    index = np.asarray(index)
    safe = np.maximum(index, 0).astype(int)
    found = array[safe, c, np.arange(WIDTH)] if index.ndim else array[safe, c]
    return np.where(index < 0, otherwise, found).astype(array.dtype)


@intrinsic
def _gather(typingctx, array, index, c):
    """array[index, c, w] in lane w by one gather instruction; every index must be valid."""

    def codegen(context, builder, signature, args):
        box = context.make_array(array)(context, builder, args[0])
        column = context.cast(builder, args[2], c, types.intp)
        if index.width == 1:
            place = [builder.fptosi(args[1], ir.IntType(64)), column]
            return builder.load(cgutils.get_item_pointer(context, builder, array, box, place))
        integers = ir.VectorType(ir.IntType(32), WIDTH)
        kind = _llvm_type(index)
        zero, itemsize = context.get_constant(types.intp, 0), array.dtype.bitwidth // 8
        base = cgutils.get_item_pointer(context, builder, array, box, [zero, column, zero])
        row_bytes = cgutils.unpack_tuple(builder, box.strides)[0]
        row_items = builder.sdiv(row_bytes, context.get_constant(types.intp, itemsize))
        rows = _splat(builder, builder.trunc(row_items, ir.IntType(32)), WIDTH)
        offsets = builder.mul(builder.fptosi(args[1], integers), rows)
        offsets = builder.add(offsets, ir.Constant(integers, list(range(WIDTH))))
        places = builder.gep(base, [offsets], source_etype=kind.element)
        places.type = ir.VectorType(base.type, WIDTH)  # llvmlite knows scalar addresses only
        mask = ir.VectorType(ir.IntType(1), WIDTH)
        arguments = [places, ir.IntType(32)(itemsize), ir.Constant(mask, [1] * WIDTH)]
        arguments.append(ir.Constant(kind, ir.Undefined))
        name = f"llvm.masked.gather.v{WIDTH}f{array.dtype.bitwidth}.v{WIDTH}p0"
        function = ir.FunctionType(kind, [argument.type for argument in arguments])
        gather = cgutils.get_or_insert_function(builder.module, function, name)
        return builder.call(gather, arguments)

    return index(array, index, c), codegen


@overload(gather)
def _ol_gather(array, index, c, otherwise):
    def impl(array, index, c, otherwise):
        return where(index < 0.0, otherwise, _gather(array, maximum(index, 0.0), c))

    return impl


# ------------------------------------------------------- between lanes and one row for each world


@intrinsic
def _from_worlds(typingctx, array, first, i, c):
    """The lanes array[first + w, i, c] of WIDTH worlds that are all there."""
    lanes = Lanes(array.dtype, WIDTH)

    def codegen(context, builder, signature, args):
        box = context.make_array(array)(context, builder, args[0])
        places = [context.cast(builder, args[k], signature.args[k], types.intp) for k in (1, 2, 3)]
        found = ir.Constant(_llvm_type(lanes), ir.Undefined)
        for w in range(WIDTH):
            world = builder.add(places[0], context.get_constant(types.intp, w))
            place = cgutils.get_item_pointer(context, builder, array, box, [world, *places[1:]])
            found = builder.insert_element(found, builder.load(place), ir.IntType(32)(w))
        return found

    return lanes(array, first, i, c), codegen


@intrinsic
def _tile_to_worlds(typingctx, rows, at, array, first, a):
    """array[first + w, a, at + c] = rows[at + c, w] for WIDTH worlds w and the next WIDTH numbers
    c, or as many as there are: a transposition in log2(WIDTH) rounds of interleaving."""
    lanes = Lanes(array.dtype, WIDTH)
    half = WIDTH // 2

    def codegen(context, builder, signature, args):
        def cast(k):
            return context.cast(builder, args[k], signature.args[k], types.intp)

        def constant(number):
            return context.get_constant(types.intp, number)

        source = context.make_array(rows)(context, builder, args[0])
        target = context.make_array(array)(context, builder, args[2])
        start, first_world, row = cast(1), cast(3), cast(4)
        kind, align = _llvm_type(lanes), array.dtype.bitwidth // 8
        tile = []
        for c in range(WIDTH):
            place = [builder.add(start, constant(c)), constant(0)]
            pointer = cgutils.get_item_pointer(context, builder, rows, source, place)
            tile.append(builder.load(builder.bitcast(pointer, kind.as_pointer())))
            tile[-1].align = align
        order = ir.VectorType(ir.IntType(32), WIDTH)
        low = ir.Constant(order, [k // 2 + WIDTH * (k % 2) for k in range(WIDTH)])
        high = ir.Constant(order, [half + k // 2 + WIDTH * (k % 2) for k in range(WIDTH)])
        for _ in range(WIDTH.bit_length() - 1):
            tile = [
                builder.shuffle_vector(tile[c], tile[c + half], part)
                for c in range(half)
                for part in (low, high)
            ]
        size = cgutils.unpack_tuple(builder, target.shape)[2]
        left = _splat(builder, builder.trunc(builder.sub(size, start), ir.IntType(32)), WIDTH)
        there = builder.icmp_signed("<", ir.Constant(order, list(range(WIDTH))), left)
        pointer_type = kind.as_pointer()
        name = f"llvm.masked.store.v{WIDTH}f{array.dtype.bitwidth}.p0"
        function = ir.FunctionType(ir.VoidType(), [kind, pointer_type, ir.IntType(32), there.type])
        store_there = cgutils.get_or_insert_function(builder.module, function, name)
        for w in range(WIDTH):
            place = [builder.add(first_world, constant(w)), row, start]
            pointer = cgutils.get_item_pointer(context, builder, array, target, place)
            pointer = builder.bitcast(pointer, pointer_type)
            builder.call(store_there, [tile[w], pointer, ir.IntType(32)(align), there])
        return context.get_dummy_value()

    return types.void(rows, at, array, first, a), codegen


def from_worlds(array, b, a, out, i):
    """Bring row `a` of block b's worlds into lanes: out[i, c] holds array[b * WIDTH + w, a, c] in
    lane w, or array[b, a, c] where `out` has no lanes."""
    if out.ndim == 2:
        out[i] = array[b, a]
    else:
        worlds = array[b * WIDTH : (b + 1) * WIDTH, a]
        out[i, :, : len(worlds)] = worlds.T


@overload(from_worlds)
def _ol_from_worlds(array, b, a, out, i):
    if out.ndim == 2:

        def one(array, b, a, out, i):
            for c in range(array.shape[2]):
                out[i, c] = array[b, a, c]

        return one

    def many(array, b, a, out, i):
        first = b * WIDTH
        for c in range(array.shape[2]):
            if first + WIDTH <= array.shape[0]:
                store(out, (i, c), _from_worlds(array, first, a, c))
            else:
                for w in range(array.shape[0] - first):
                    out[i, c, w] = array[first + w, a, c]

    return many


def to_worlds(rows, array, b, a):
    """Bring lanes into row `a` of block b's worlds: array[b * WIDTH + w, a, c] is lane w of
    rows[c], or array[b, a, c] is rows[c] where there are no lanes. The number of rows must be
    rounded up to a multiple of WIDTH."""
    if rows.ndim == 1:
        array[b, a] = rows[: array.shape[2]]
    else:
        worlds = array[b * WIDTH : (b + 1) * WIDTH, a]
        worlds[:] = rows[: worlds.shape[1], : len(worlds)].T


@overload(to_worlds)
def _ol_to_worlds(rows, array, b, a):
    if rows.ndim == 1:

        def one(rows, array, b, a):
            for c in range(array.shape[2]):
                array[b, a, c] = rows[c]

        return one

    def many(rows, array, b, a):
        first, size = b * WIDTH, array.shape[2]
        if first + WIDTH <= array.shape[0]:
            for at in range(0, size, WIDTH):
                _tile_to_worlds(rows, at, array, first, a)
        else:
            for w in range(array.shape[0] - first):
                for c in range(size):
                    array[first + w, a, c] = rows[c, w]

    return many


# -------------------------------------------------------------------------------------- arithmetic


def _either(a, b, kind):
    return isinstance(a, kind) or isinstance(b, kind)


def _arithmetic(operation, instruction):
    @intrinsic
    def apply(typingctx, a, b):
        return a(a, b), lambda context, builder, signature, args: getattr(builder, instruction)(
            *args
        )

    @overload(operation)
    def _ol(a, b):
        if isinstance(a, Lanes):
            return lambda a, b: apply(a, _lift(a, b))
        if isinstance(b, Lanes):
            return lambda a, b: apply(_lift(b, a), b)


def _comparison(operation, symbol):
    @intrinsic
    def apply(typingctx, a, b):
        return Mask(a.dtype, a.width)(a, b), (
            lambda context, builder, signature, args: builder.fcmp_ordered(symbol, *args)
        )

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


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
_comparison(operator.lt, "<")
_comparison(operator.le, "<=")
_comparison(operator.gt, ">")
_comparison(operator.ge, ">=")
_logic(operator.and_, "and_")
_logic(operator.or_, "or_")


@overload(operator.neg)
def _ol_neg(x):
    if isinstance(x, Lanes):
        return lambda x: 0.0 - x


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
    """The smaller in each lane; a NaN in `a` stays."""
    return np.where(b < a, b, a)


def maximum(a, b):
    """The larger in each lane; a NaN in `a` stays."""
    return np.where(b > a, b, a)


@overload(minimum)
def _ol_minimum(a, b):
    if _either(a, b, Lanes):
        return lambda a, b: where(b < a, b, a)


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
    """Does the condition hold in any lane?"""
    return bool(np.any(mask))


@overload(anywhere)
def _ol_anywhere(mask):
    return lambda mask: _anywhere(mask)


@intrinsic
def _sqrt(typingctx, x):
    def codegen(context, builder, signature, args):
        kind = _llvm_type(x)
        lanes = "" if x.width == 1 else f"v{x.width}"
        name = f"llvm.sqrt.{lanes}f{x.dtype.bitwidth}"
        function = ir.FunctionType(kind, [kind])
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)

    return x(x), codegen


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
