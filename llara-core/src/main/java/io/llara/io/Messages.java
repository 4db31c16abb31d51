package io.llara.io;

import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.Locale;
import java.util.regex.Pattern;

/** How names and causes from files are shown in error messages. */
public final class Messages {
  private static final int LONGEST_NAME = 120;
  private static final int LONGEST_REASON = 300;
  private static final String GSON_ADVICE =
      "Use JsonReader.setStrictness(Strictness.LENIENT) to accept malformed JSON";

  /** Where the JSON is one line, perhaps of many, its number among itself says nothing. */
  private static final Pattern ONE_LINE = Pattern.compile(" at line 1 column ([0-9]+) path .*");

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
    if (e instanceof CharacterCodingException) {
      return "malformed UTF-8";
    }
    if (e instanceof NotDirectoryException) {
      return "not a directory";
    }
    if (e instanceof DirectoryNotEmptyException) {
      return "the directory is not empty";
    }
    if (e instanceof FileAlreadyExistsException) {
      return "the file already exists";
    }
    if (e instanceof ClosedByInterruptException) {
      return "interrupted";
    }
    String message = e instanceof FileSystemException file ? file.getReason() : e.getMessage();
    if (message == null) {
      return "an input or output error without a reason";
    }
    if (message.equals("Bad file descriptor") || message.equalsIgnoreCase("stream closed")) {
      return "it is closed";
    }
    // Gson's messages begin with advice to its caller and end with a line on where to read more.
    String first = message.split("\n", 2)[0].replace(GSON_ADVICE, "unexpected character");
    return brief(ONE_LINE.matcher(first).replaceFirst(" at character $1"));
  }

  /** Returns a number of bytes of memory for people, such as {@code 13.50 GiB}. */
  public static String gibibytes(long bytes) {
    return String.format(Locale.ROOT, "%.2f GiB", bytes / (double) (1L << 30));
  }

  /** Returns the text on one line and of bounded length. */
  static String brief(String text) {
    return plain(text, LONGEST_REASON);
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
