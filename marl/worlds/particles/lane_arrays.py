"""Lanes in arrays: load and store them, take one lane, move them to rows and back.

Arrays keep the lanes on their last axis: `load(a, (i, c))` on `a[n, 2, WIDTH]` gives all lanes, on
`a[n, 2]` the single lane. So the same source serves both.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from marl.worlds.particles.lanes import WIDTH, Lanes, llvm_type, maximum, overload, splat, where


def _index_types(index):
    return tuple(index) if isinstance(index, types.BaseTuple) else (index,)


def _loaded(array, index) -> Lanes:
    """The type of `array[index]`: WIDTH lanes if the last axis is left, else one."""
    missing = array.ndim - len(_index_types(index))
    if missing not in (0, 1):
        raise TypingError("an index names every axis of an array except, perhaps, the lanes")
    return Lanes(array.dtype, WIDTH if missing else 1)


def _pointer(context, builder, array_type, array, index_type, index, lanes):
    """A pointer to the lanes of `array[index]`, of their LLVM type."""
    kinds = _index_types(index_type)
    values = (
        cgutils.unpack_tuple(builder, index) if isinstance(index_type, types.BaseTuple) else [index]
    )
    values = [context.cast(builder, v, t, types.intp) for v, t in zip(values, kinds, strict=True)]
    if len(values) < array_type.ndim:
        values.append(context.get_constant(types.intp, 0))
    box = context.make_array(array_type)(context, builder, array)
    place = cgutils.get_item_pointer(context, builder, array_type, box, values)
    return builder.bitcast(place, llvm_type(lanes).as_pointer())


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
    """Write lanes, or one number for all lanes, to `array[index]`."""
    array[index] = value


@overload(load)
def _ol_load(array, index):
    return lambda array, index: _load(array, index)


@overload(store)
def _ol_store(array, index, value):
    return lambda array, index, value: _store(array, index, value)


@intrinsic
def _borrow(typingctx, array):
    def codegen(context, builder, signature, args):
        box = context.make_array(array)(context, builder, args[0])
        box.meminfo = ir.Constant(box.meminfo.type, None)
        box.parent = ir.Constant(box.parent.type, None)
        return box._getvalue()

    return array(array), codegen


def borrow(array):
    """The same array without a reference count. numba would raise and lower the count by atomic
    instructions at every call. Only for arrays that a caller keeps alive."""
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
    """The number in lane `w` at `array[index]`."""
    return np.atleast_1d(array[index])[w]


@overload(element)
def _ol_element(array, index, w):
    if _loaded(array, index).width == 1:
        return lambda array, index, w: array[index]
    if isinstance(index, types.BaseTuple):
        return lambda array, index, w: array[index + (w,)]
    return lambda array, index, w: array[index, w]


def put_element(array, index, w, value):
    """Write a number into lane `w` at `array[index]`."""
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
    """`array[index, c]`, where each lane has its own index (a float with a whole number);
    `otherwise` if the index is negative."""
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
        kind = llvm_type(index)
        zero, itemsize = context.get_constant(types.intp, 0), array.dtype.bitwidth // 8
        base = cgutils.get_item_pointer(context, builder, array, box, [zero, column, zero])
        row_bytes = cgutils.unpack_tuple(builder, box.strides)[0]
        row_items = builder.sdiv(row_bytes, context.get_constant(types.intp, itemsize))
        rows = splat(builder, builder.trunc(row_items, ir.IntType(32)), WIDTH)
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


@intrinsic
def _from_worlds(typingctx, array, first, i, c):
    """The lanes array[first + w, i, c] of WIDTH worlds, all of which exist."""
    lanes = Lanes(array.dtype, WIDTH)

    def codegen(context, builder, signature, args):
        box = context.make_array(array)(context, builder, args[0])
        places = [context.cast(builder, args[k], signature.args[k], types.intp) for k in (1, 2, 3)]
        found = ir.Constant(llvm_type(lanes), ir.Undefined)
        for w in range(WIDTH):
            world = builder.add(places[0], context.get_constant(types.intp, w))
            place = cgutils.get_item_pointer(context, builder, array, box, [world, *places[1:]])
            found = builder.insert_element(found, builder.load(place), ir.IntType(32)(w))
        return found

    return lanes(array, first, i, c), codegen


@intrinsic
def _tile_to_worlds(typingctx, rows, at, array, first, a):
    """array[first + w, a, at + c] = rows[at + c, w] for WIDTH worlds w and up to WIDTH numbers c: a
    transposition in log2(WIDTH) rounds of interleaving."""
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
        kind, align = llvm_type(lanes), array.dtype.bitwidth // 8
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
        left = splat(builder, builder.trunc(builder.sub(size, start), ir.IntType(32)), WIDTH)
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
    """Copy row `a` of the worlds of block b to lanes: out[i, c] holds array[b * WIDTH + w, a, c] in
    lane w, or array[b, a, c] if `out` has no lanes."""
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
    """Copy lanes to row `a` of the worlds of block b: array[b * WIDTH + w, a, c] is lane w of
    rows[c], or array[b, a, c] is rows[c] if there are no lanes. The number of rows must be rounded
    up to a multiple of WIDTH."""
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
