package io.llara.train.data;

import io.llara.TokenizationException;
import io.llara.io.JsonSection;
import io.llara.train.data.DataLine.Targets;
import io.llara.train.data.TextSource.Kind;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One pass over a {@link TextSource}. Not thread-safe. */
public final class TextStream extends JsonlStream<TrainingText> {
  private final TextSource source;
  private @Nullable PassageSplitter splitter;

  TextStream(TextSource source) {
    super(source);
    this.source = source;
  }

  @Override
  void read(JsonSection line) {
    DataLine data = DataLine.of(line);
    String origin = line.place();
    if (ofOther(data.isHeldOut(source.fraction()))) {
      return;
    }
    Targets targets = data.targets();
    if (targets == null) {
      addPassages(passages(data.text(), origin), origin);
    } else if (source.kind() == Kind.PLAIN_TEXTS) {
      add(new TrainingText(data.text(), "", "", origin));
    } else {
      add(
          new TrainingText(
              data.text(), source.target(targets.self()), source.target(targets.next()), origin));
    }
  }

  private List<String> passages(String document, String origin) {
    if (splitter == null) {
      splitter = source.splitter();
    }
    try {
      return splitter.split(document);
    } catch (TokenizationException e) {
      throw new TokenizationException(origin + ": " + e.getMessage(), e);
    }
  }

  private void addPassages(List<String> passages, String document) {
    boolean plain = source.kind() == Kind.PLAIN_TEXTS;
    int count = plain ? passages.size() : passages.size() - 1;
    if (count < 1) {
      tooShort();
      return;
    }
    String next = plain ? "" : source.target(passages.get(0));
    for (int i = 0; i < count; i++) {
      String self = next;
      next = plain ? "" : source.target(passages.get(i + 1));
      String origin = document + " passage " + (i + 1);
      add(new TrainingText(passages.get(i), self, next, origin));
    }
  }
}
