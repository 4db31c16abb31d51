package io.llara.examples.search;

import java.security.MessageDigest;

/** SHA-256 over passages in their order. */
final class PassageDigest {
  private final MessageDigest digest = Digests.sha256();
  private long count;

  void add(String passage) {
    Digests.update(digest, passage);
    count++;
  }

  long count() {
    return count;
  }

  /** Returns the value and starts anew. */
  String value() {
    return Digests.hex(digest);
  }
}
