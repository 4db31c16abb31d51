///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 17+
//DEPS io.llara:llara-mini:0.1.0-SNAPSHOT
//DEPS io.llara:llara-retrieval:0.1.0-SNAPSHOT
// The natives of one platform: linux-x86_64, macosx-arm64 or windows-x86_64.
//DEPS org.bytedeco:javacpp:1.5.13:linux-x86_64
//DEPS org.bytedeco:openblas:0.3.31-1.5.13:linux-x86_64
//DEPS org.bytedeco:pytorch:2.10.0-1.5.13:linux-x86_64

import io.llara.Encoder;
import io.llara.retrieval.Document;
import io.llara.retrieval.DocumentIndex;
import io.llara.retrieval.SearchHit;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Searches the lines of a text file: jbang FirstSearch.java FILE "a question". */
class FirstSearch {
  public static void main(String[] args) throws IOException {
    try (Encoder encoder = Encoder.loadDefault();
        DocumentIndex index = DocumentIndex.temporary(encoder);
        Stream<String> lines = Files.lines(Path.of(args[0]))) {
      index.addAll(lines.filter(line -> !line.isBlank()).map(line -> new Document(line, "", line)));
      for (SearchHit hit : index.search(args[1], 3)) {
        System.out.printf("%.4f  %s%n", hit.score(), hit.document().text());
      }
    }
  }
}
