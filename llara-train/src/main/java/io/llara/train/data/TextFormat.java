package io.llara.train.data;

import io.llara.LlaraException;
import io.llara.TokenizationException;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import io.llara.retrieval.Document;
import io.llara.retrieval.DocumentReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * How lines of text become examples for adaptation. A line is a JSON object of one of two forms, or
 * a row of a table; files may mix them, other keys are passed over:
 *
 * <ul>
 *   <li>{@code {"input": …, "output_summarize": …, "output_predict": …}}, as the released code has
 *       it: a text, and what its SELF and NEXT embeddings must predict.
 *   <li>{@code {"id": …, "title": …, "text": …}}: a document, paragraphs separated by {@code \n};
 *       {@code id} and {@code title} may be absent, and the title is not read. It is cut into
 *       passages of whole sentences up to a budget of tokens. Passage k with passage k + 1 makes
 *       one example: SELF must predict the words of the one, NEXT those of the other. The last
 *       passage has no next and only serves as one.
 *   <li>Id, text and title, separated by tabs and quoted as CSV is, under the header {@code id text
 *       title}, as DPR has Wikipedia ({@code psgs_w100.tsv}): a document.
 * </ul>
 *
 * <p>A document is held out by a hash of its id, or of its text if it has none. A pair counts as a
 * document. Those that were cut from one document share texts, one's next being another's own, and
 * should carry an {@code id} in common to stay on one side.
 *
 * <p>Immutable and thread-safe.
 *
 * @param splitter cuts documents into passages; needed for documents, not for pairs
 * @param stopWords what targets lose together with punctuation, by {@link StopWords#strip}, as in
 *     the released recipe; empty to leave them as they are, as in the paper's
 * @param plain whether to make texts without targets, for language modelling: all passages of a
 *     document, the last one too, and the {@code input} of a pair
 */
public record TextFormat(
    Optional<PassageSplitter> splitter, Optional<StopWords> stopWords, boolean plain)
    implements LineFormat<TrainingText> {
  private static final String INPUT = "input";
  private static final String TEXT = "text";

  @Override
  public Line<TrainingText> read(LineReader line) {
    String whole = line.line();
    // In JSON a tab may stand between tokens.
    return whole.indexOf('\t') >= 0 && !whole.stripLeading().startsWith("{")
        ? ofTable(line)
        : ofJson(line.json());
  }

  private Line<TrainingText> ofTable(LineReader line) {
    Document document = DocumentReader.ofDpr(line);
    if (document.text().isBlank()) {
      throw line.error("has no text");
    }
    String place = line.place();
    return new Line<>(document.id(), () -> ofDocument(document.text(), place));
  }

  private Line<TrainingText> ofJson(JsonSection json) {
    boolean pair = json.mentions(INPUT);
    if (pair && json.mentions(TEXT)) {
      throw json.invalid(TEXT, "there beside 'input'", "one of them: they are two forms");
    }
    if (!pair && !json.mentions(TEXT)) {
      throw json.missing(TEXT, "a document's text, or 'input' of a pair");
    }
    String text = json.requiredText(pair ? INPUT : TEXT);
    String self = pair ? json.requiredString("output_summarize") : "";
    String next = pair ? json.requiredString("output_predict") : "";
    // An empty id names nothing.
    String key = json.scalar("id").filter(id -> !id.isEmpty()).orElse(text);
    return new Line<>(
        key,
        () ->
            pair
                ? List.of(new TrainingText(text, target(self), target(next), json.place()))
                : ofDocument(text, json.place()));
  }

  private String target(String words) {
    return plain ? "" : stopWords.map(list -> list.strip(words)).orElse(words);
  }

  private List<TrainingText> ofDocument(String document, String origin) {
    List<String> passages = passages(document, origin);
    int count = plain ? passages.size() : passages.size() - 1;
    List<TrainingText> texts = new ArrayList<>();
    String next = count > 0 ? target(passages.get(0)) : "";
    for (int i = 0; i < count; i++) {
      String self = next;
      next = plain ? "" : target(passages.get(i + 1));
      texts.add(new TrainingText(passages.get(i), self, next, origin + " passage " + (i + 1)));
    }
    return texts;
  }

  private List<String> passages(String document, String origin) {
    PassageSplitter cutter =
        splitter.orElseThrow(
            () ->
                new IllegalStateException(
                    origin + ": is a document, but there is no splitter to cut it into passages"));
    try {
      return cutter.split(document);
    } catch (TokenizationException e) {
      throw new LlaraException(origin + ": " + e.getMessage(), e);
    }
  }

  @Override
  public String noun() {
    return plain ? "text" : "pair";
  }

  @Override
  public String shortBecause() {
    return splitter
        .map(cutter -> "too short for two passages of up to %d tokens".formatted(cutter.budget()))
        .orElse("too short");
  }
}
