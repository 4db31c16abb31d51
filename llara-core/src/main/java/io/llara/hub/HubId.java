package io.llara.hub;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a model of the hub is called.
 *
 * @param repository owner and name, as in {@code BAAI/LLARA-passage}
 * @param revision a branch, a tag or a commit
 */
public record HubId(String repository, String revision) {
  private static final String DEFAULT_REVISION = "main";

  /** No segment of a revision begins with a dot: it becomes the path of a file. */
  private static final Pattern FORM =
      Pattern.compile("(\\w[\\w.-]*/\\w[\\w.-]*)(?:@(\\w[\\w.-]*(?:/\\w[\\w.-]*)*))?");

  /** Reads {@code owner/name} or {@code owner/name@revision}; empty if the text is neither. */
  public static Optional<HubId> parse(String text) {
    Matcher matcher = FORM.matcher(text);
    if (!matcher.matches()) {
      return Optional.empty();
    }
    String revision = matcher.group(2);
    return Optional.of(new HubId(matcher.group(1), revision == null ? DEFAULT_REVISION : revision));
  }

  @Override
  public String toString() {
    return repository + "@" + revision;
  }
}
