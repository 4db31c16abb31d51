package io.llara.retrieval;

import com.google.common.hash.HashCode;
import com.google.common.hash.Hashing;
import io.llara.Internal;
import org.apache.lucene.util.BytesRef;
import org.apache.lucene.util.BytesRefHash;

/**
 * Numbers digests in the order of their coming: 0, 1, 2 and so on. Takes some 30 bytes of memory
 * for one of 128 bits, and some hundred million of them. Not thread-safe.
 */
@Internal
public final class DigestTable {
  private final BytesRefHash digests = new BytesRefHash();

  /** Returns how many different ones there are. */
  public int size() {
    return digests.size();
  }

  /** Returns the number of a digest; a new one gets the next. */
  public int add(HashCode digest) {
    int number = digests.add(new BytesRef(digest.asBytes()));
    // One that was there comes back as the negative of its number, less one.
    return number < 0 ? -number - 1 : number;
  }

  /** Adds the digest of a text; returns whether it is new. */
  boolean addNew(String text) {
    int before = size();
    return add(Hashing.murmur3_128().hashUnencodedChars(text)) == before;
  }

  /** Returns the number of a digest, or -1 if it has none. */
  public int find(HashCode digest) {
    return digests.find(new BytesRef(digest.asBytes()));
  }
}
