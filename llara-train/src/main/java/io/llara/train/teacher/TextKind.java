package io.llara.train.teacher;

import com.google.common.hash.HashCode;
import com.google.common.hash.Hashing;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** What a text is to a teacher, which may have a prompt for each. */
public enum TextKind {
  /** A query. */
  QUERY('q'),
  /** A passage. */
  PASSAGE('p');

  /** The bytes of a key. */
  static final int KEY_BYTES = 16;

  private final byte prefix;

  TextKind(char prefix) {
    this.prefix = (byte) prefix;
  }

  /**
   * Returns what stands for a text in a file of vectors: the first 16 bytes of the SHA-256 of one
   * byte, {@code q} or {@code p}, and the text in UTF-8.
   */
  HashCode key(String text) {
    byte[] digest =
        Hashing.sha256()
            .newHasher()
            .putByte(prefix)
            .putString(text, StandardCharsets.UTF_8)
            .hash()
            .asBytes();
    return HashCode.fromBytes(Arrays.copyOf(digest, KEY_BYTES));
  }
}
