package io.llara.retrieval;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import com.google.common.primitives.Ints;
import java.nio.charset.StandardCharsets;

/** SHA-256 over passages in their order, each with its length before it. */
public final class PassageDigest {
  private final Hasher hasher = Hashing.sha256().newHasher();
  private long count;

  /** Adds a passage. */
  public void add(String passage) {
    byte[] bytes = passage.getBytes(StandardCharsets.UTF_8);
    hasher.putBytes(Ints.toByteArray(bytes.length)).putBytes(bytes);
    count++;
  }

  /** Returns how many passages were added. */
  public long count() {
    return count;
  }

  /** Returns the digest in hexadecimal digits; nothing can be added after it. */
  public String value() {
    return hasher.hash().toString();
  }

  /** Returns the digest of some strings. */
  static String of(Iterable<String> strings) {
    PassageDigest digest = new PassageDigest();
    strings.forEach(digest::add);
    return digest.value();
  }
}
