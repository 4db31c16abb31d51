package io.llara.train.mining;

import com.google.common.hash.HashCode;
import com.google.common.hash.Hashing;
import java.nio.ByteBuffer;

/** A digest of 128 bits that stands for a text: equal for equal texts, and for no others. */
record TextKey(long high, long low) {

  /** Returns the key of a text whose runs of white space count as one space, and its ends not. */
  static TextKey of(String text) {
    return exactly(withPlainSpaces(text));
  }

  /** Returns the key of a string as it is. */
  static TextKey exactly(String string) {
    return of(Hashing.murmur3_128().hashUnencodedChars(string));
  }

  private static TextKey of(HashCode hash) {
    ByteBuffer bytes = ByteBuffer.wrap(hash.asBytes());
    return new TextKey(bytes.getLong(), bytes.getLong());
  }

  private static String withPlainSpaces(String text) {
    StringBuilder plain = new StringBuilder(text.length());
    boolean space = false;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      // The first leaves out the no-break spaces, the second line ends and tabs.
      if (Character.isWhitespace(c) || Character.isSpaceChar(c)) {
        space = plain.length() > 0;
      } else {
        if (space) {
          plain.append(' ');
          space = false;
        }
        plain.append(c);
      }
    }
    return plain.toString();
  }

  /** Returns the key as 32 hexadecimal digits. */
  String hex() {
    return "%016x%016x".formatted(high, low);
  }
}
