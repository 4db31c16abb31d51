package io.llara.retrieval;

import java.security.MessageDigest;

/** SHA-256 over passages in their order. */
public final class PassageDigest {
  private final MessageDigest digest = Digests.sha256();
  private long count;

  public void add(String passage) {
    Digests.update(digest, passage);
    count++;
  }

  public long count() {
    return count;
  }

  /** Returns the value and starts anew. */
  public String value() {
    return Digests.hex(digest);
  }
}
