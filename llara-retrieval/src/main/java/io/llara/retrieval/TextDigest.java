package io.llara.retrieval;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.llara.Internal;
import java.nio.charset.StandardCharsets;

/** SHA-256 over texts in their order, which cannot run into one another. Not thread-safe. */
@Internal
public final class TextDigest {
  private final Hasher hasher = Hashing.sha256().newHasher();

  private long count;

  /** Adds the length of a text, big-endian, and then its bytes in UTF-8. */
  public void add(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    hasher.putInt(Integer.reverseBytes(bytes.length)).putBytes(bytes);
    count++;
  }

  /** Returns how many texts were added. */
  public long count() {
    return count;
  }

  /** Returns the digest as 64 hexadecimal digits. Nothing can be added any more. */
  public String value() {
    return hasher.hash().toString();
  }

  static String of(Iterable<String> texts) {
    TextDigest digest = new TextDigest();
    texts.forEach(digest::add);
    return digest.value();
  }
}
