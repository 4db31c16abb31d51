package io.llara.io;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;

/** How names and causes from files are shown in error messages. */
public final class Messages {
  private static final int LONGEST_NAME = 120;
  private static final int LONGEST_REASON = 300;
  private static final String GSON_ADVICE =
      "Use JsonReader.setStrictness(Strictness.LENIENT) to accept malformed JSON";

  private Messages() {}

  /** Returns the text in quotes, on one line and of bounded length: it may come from anywhere. */
  public static String quote(String text) {
    return "'" + plain(text, LONGEST_NAME) + "'";
  }

  /** Returns what went wrong in words; the messages of some IO errors are a bare path. */
  public static String reason(IOException e) {
    if (e instanceof NoSuchFileException) {
      return "no such file";
    }
    if (e instanceof AccessDeniedException) {
      return "access denied";
    }
    String message = e.getMessage();
    if (message == null) {
      return e.getClass().getSimpleName();
    }
    // Gson's messages begin with advice to its caller and end with a line on where to read more.
    String[] lines = message.split("\n", 2);
    return plain(lines[0].replace(GSON_ADVICE, "unexpected character"), LONGEST_REASON);
  }

  private static String plain(String text, int longest) {
    int end = Math.min(text.length(), longest);
    StringBuilder plain = new StringBuilder(end + 1);
    for (int i = 0; i < end; i++) {
      char c = text.charAt(i);
      plain.append(Character.isISOControl(c) || Character.isSurrogate(c) ? '\uFFFD' : c);
    }
    return end < text.length() ? plain.append('…').toString() : plain.toString();
  }
}
