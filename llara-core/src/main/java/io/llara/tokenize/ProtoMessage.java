package io.llara.tokenize;

import com.google.common.base.Utf8;
import com.google.common.collect.ArrayListMultimap;
import com.google.common.collect.ListMultimap;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A message of a <a href="https://protobuf.dev/programming-guides/encoding/">protocol buffer</a>:
 * the values of its fields by number, in the order of the file. Numbers are {@link Long}, of fixed
 * width their bits; everything else is a {@link ByteBuffer}.
 */
record ProtoMessage(ListMultimap<Integer, Object> fields) {
  private static final int VARINT = 0;
  private static final int FIXED_64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED_32 = 5;

  /**
   * Reads a message, from the position of a buffer to its end.
   *
   * @throws IllegalArgumentException if the bytes are no message, or end within a field
   */
  static ProtoMessage read(ByteBuffer bytes) {
    ByteBuffer in = bytes.slice().order(ByteOrder.LITTLE_ENDIAN);
    ListMultimap<Integer, Object> fields = ArrayListMultimap.create();
    try {
      while (in.hasRemaining()) {
        long tag = varint(in);
        Object value =
            switch ((int) tag & 7) {
              case VARINT -> varint(in);
              case FIXED_64 -> in.getLong();
              case BYTES -> bytes(in, varint(in));
              case FIXED_32 -> Integer.toUnsignedLong(in.getInt());
              default -> throw new IllegalArgumentException("a field has an unknown wire type");
            };
        if (tag >>> 3 < 1 || tag >>> 3 > Integer.MAX_VALUE) {
          throw new IllegalArgumentException("a field has the number " + (tag >>> 3));
        }
        fields.put((int) (tag >>> 3), value);
      }
    } catch (BufferUnderflowException e) {
      throw new IllegalArgumentException("it ends within a field", e);
    }
    return new ProtoMessage(fields);
  }

  private static long varint(ByteBuffer in) {
    long value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      byte part = in.get();
      value |= (long) (part & 0x7f) << shift;
      if (part >= 0) {
        return value;
      }
    }
    throw new IllegalArgumentException("a number has more than ten bytes");
  }

  private static ByteBuffer bytes(ByteBuffer in, long length) {
    if (length < 0 || length > in.remaining()) {
      throw new BufferUnderflowException();
    }
    ByteBuffer bytes = in.slice(in.position(), (int) length);
    in.position(in.position() + (int) length);
    return bytes;
  }

  /** Returns the values of a repeated field of messages or strings. */
  List<ByteBuffer> all(int field) {
    return fields.get(field).stream().map(value -> (ByteBuffer) value).toList();
  }

  /** Returns the message of a field: the parts that there are of it, none if it is absent. */
  ProtoMessage message(int field) {
    ListMultimap<Integer, Object> parts = ArrayListMultimap.create();
    all(field).forEach(bytes -> parts.putAll(read(bytes).fields()));
    return new ProtoMessage(parts);
  }

  /** Returns the string of a field, the empty one if it is absent. */
  String text(int field) {
    List<ByteBuffer> all = all(field);
    if (all.isEmpty()) {
      return "";
    }
    byte[] bytes = new byte[all.get(all.size() - 1).remaining()];
    all.get(all.size() - 1).get(0, bytes);
    if (!Utf8.isWellFormed(bytes)) {
      throw new IllegalArgumentException("a string is not UTF-8 text");
    }
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** Returns the number of a field: the last, if there are several. */
  long number(int field, long absent) {
    List<Object> all = fields.get(field);
    return all.isEmpty() ? absent : (Long) all.get(all.size() - 1);
  }
}
