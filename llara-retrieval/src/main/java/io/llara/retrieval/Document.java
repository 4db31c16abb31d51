package io.llara.retrieval;

/**
 * A document of a collection.
 *
 * @param id its id
 * @param title its title, maybe empty
 * @param text its text, maybe empty
 */
public record Document(String id, String title, String text) {

  /** Returns what is embedded: title and text with a space between them, as BEIR does. */
  public String passage() {
    return (title + " " + text).strip();
  }

  /** Returns whether it has neither title nor text: then it is passed over. */
  public boolean isBlank() {
    return title.isBlank() && text.isBlank();
  }
}
