package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.testing.Shared;
import io.llara.tokenize.Tokenizer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;

/** Reads the shared data sets. */
class SharedDataTest {
  private static Path data() {
    return Shared.require().resolve("data");
  }

  @Test
  void readsTheReferencesToyData() throws IOException {
    Path file = data().resolve("llara-toy/toy_pretrain_data.jsonl");
    StopWords stopWords = StopWords.read(data().resolve("stopwords-en.txt"));

    List<TrainingText> texts =
        DataFiles.readAll(
            Dataset.ofTexts(
                List.of(file), new TextFormat(Optional.empty(), Optional.of(stopWords), false)));

    List<String> lines = Files.readAllLines(file);
    assertThat(texts).hasSize(11).hasSameSizeAs(lines);
    for (int i = 0; i < 11; i++) {
      JsonObject line = JsonParser.parseString(lines.get(i)).getAsJsonObject();
      TrainingText text = texts.get(i);
      assertThat(text.text()).isEqualTo(line.get("input").getAsString());
      assertThat(text.selfTarget())
          .isEqualTo(stopWords.strip(line.get("output_summarize").getAsString()));
      assertThat(text.nextTarget())
          .isEqualTo(stopWords.strip(line.get("output_predict").getAsString()));
      assertThat(text.nextTarget().toLowerCase(Locale.ROOT).split(" "))
          .doesNotContain("the", "of", "and")
          .hasSizeGreaterThan(10);
      assertThat(text.origin()).isEqualTo(file + ":" + (i + 1));
    }
  }

  @Test
  void splitsTheWikipediaSample() throws IOException {
    Path file = data().resolve("text/wikipedia-en-sample.jsonl.gz");
    List<String> documents = firstDocuments(file, 30);
    try (Tokenizer tokenizer = Tokenizer.load(data().resolve("tokenizers/llama2"))) {
      Dataset<TrainingText> source =
          Dataset.ofTexts(
              List.of(file),
              new TextFormat(
                  Optional.of(new PassageSplitter(tokenizer, 128)), Optional.empty(), true));
      List<List<String>> passages =
          Stream.<List<String>>generate(ArrayList::new).limit(30).collect(Collectors.toList());
      try (DatasetReader<TrainingText> stream = source.open()) {
        while (true) {
          TrainingText text = stream.next();
          int line = Integer.parseInt(text.origin().replaceAll(".*:(\\d+) passage.*", "$1"));
          if (line > 30) {
            break;
          }
          passages.get(line - 1).add(text.text());
        }
      }

      int tokens = 0;
      int count = 0;
      for (int i = 0; i < 30; i++) {
        assertThat(String.join("", passages.get(i)).replaceAll("\\s", ""))
            .isEqualTo(documents.get(i).replaceAll("\\s", ""));
        for (String passage : passages.get(i)) {
          int length = tokenizer.encodeText(passage).length;
          assertThat(length).isBetween(1, 128);
          tokens += length;
          count++;
        }
      }
      // Whole sentences fill most of the budget.
      assertThat((double) tokens / count).isBetween(80.0, 128.0);
    }
  }

  @Test
  void readsTheSharedPairs() {
    Path pairs = data().resolve("pairs");
    assertThat(count(pairs.resolve("medquad.jsonl.gz"), 0)).isEqualTo(16035);
    assertThat(count(pairs.resolve("xquad-en.jsonl.gz"), 0)).isEqualTo(1190);
    assertThat(count(pairs.resolve("flagembedding-examples/msmarco.jsonl"), 15)).isEqualTo(10);
    assertThat(count(pairs.resolve("flagembedding-examples/nq.jsonl"), 15)).isEqualTo(10);
    assertThat(count(data().resolve("llara-toy/toy_finetune_data.jsonl"), 15)).isEqualTo(11);
  }

  private static long count(Path file, int minNegatives) {
    DataStatistics found = Dataset.ofPairs(List.of(file), minNegatives).count();
    assertThat(found.badLines()).isZero();
    return found.examples();
  }

  private static List<String> firstDocuments(Path file, int count) throws IOException {
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(Files.newInputStream(file)), StandardCharsets.UTF_8))) {
      return lines
          .lines()
          .limit(count)
          .map(line -> JsonParser.parseString(line).getAsJsonObject().get("text").getAsString())
          .toList();
    }
  }
}
