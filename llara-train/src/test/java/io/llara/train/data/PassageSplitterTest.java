package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.base.Strings;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class PassageSplitterTest {
  /** A tokenizer whose tokens are the characters that are no white space. */
  private static int characters(String text) {
    return (int) text.codePoints().filter(c -> !Character.isWhitespace(c)).count();
  }

  private static int words(String text) {
    return text.isBlank() ? 0 : text.strip().split("\\s+").length;
  }

  private static List<String> splitByWords(String document, int budget) {
    return new PassageSplitter(PassageSplitterTest::words, budget).split(document);
  }

  @Test
  void packsWholeSentencesUpToTheBudget() {
    String document = "One two three. Four five six. Seven eight.\nNine ten. Eleven twelve.";

    assertThat(splitByWords(document, 8))
        .containsExactly("One two three. Four five six. Seven eight.", "Nine ten. Eleven twelve.");
    assertThat(splitByWords(document, 10))
        .containsExactly("One two three. Four five six. Seven eight. Nine ten.", "Eleven twelve.");
    assertThat(splitByWords(document, 5))
        .containsExactly(
            "One two three.", "Four five six. Seven eight.", "Nine ten. Eleven twelve.");
    assertThat(splitByWords(document, 100)).hasSize(1);
  }

  @Test
  void cutsALongSentenceBetweenWords() {
    assertThat(splitByWords("Short one. A sentence of more words than fit. End.", 4))
        .containsExactly("Short one. A sentence", "of more words than", "fit. End.");
  }

  @Test
  void cutsALongWordBetweenCharacters() {
    String emoji = "\ud83d\ude00";
    List<String> passages =
        new PassageSplitter(PassageSplitterTest::characters, 8).split(Strings.repeat(emoji, 21));

    assertThat(String.join("", passages)).isEqualTo(Strings.repeat(emoji, 21));
    assertThat(passages)
        .hasSizeBetween(3, 6)
        .allMatch(passage -> !passage.startsWith("\ude00") && characters(passage) <= 8);
  }

  @Test
  void cutsEnormousPiecesBeforeTokenising() {
    List<Integer> asked = new ArrayList<>();
    PassageSplitter splitter =
        new PassageSplitter(
            text -> {
              asked.add(text.length());
              return text.length();
            },
            1 << 20);
    String document = Strings.repeat("x", 5_000_000);

    assertThat(String.join("", splitter.split(document))).isEqualTo(document);
    assertThat(asked).allMatch(length -> length <= 1 << 16);
  }

  @Test
  void addsNoSpaceWhereTheTextHasNone() {
    String japanese = "\u6771\u4eac\u306f\u5927\u304d\u3044\u3002\u4eba\u304c\u591a\u3044\u3002";

    assertThat(new PassageSplitter(PassageSplitterTest::characters, 100).split(japanese))
        .containsExactly(japanese);
  }

  @Test
  void blankParagraphsAndPiecesWithoutTokensMakeNoPassage() {
    assertThat(splitByWords(" \n\r\n\t\n", 10)).isEmpty();
    assertThat(splitByWords("\n\n One.\r\n\n Two. \n", 10)).containsExactly("One. Two.");
    assertThat(new PassageSplitter(text -> 0, 10).split("One. Two.")).isEmpty();
  }

  @Test
  void isCleanAfterATextThatTheTokenizerRefused() {
    PassageSplitter splitter =
        new PassageSplitter(
            text -> {
              if (text.contains("bad")) {
                throw new IllegalArgumentException();
              }
              return words(text);
            },
            10);
    try {
      splitter.split("First sentence. This is bad.");
    } catch (IllegalArgumentException expected) {
      // What follows must not begin with the first sentence.
    }
    assertThat(splitter.split("Second.")).containsExactly("Second.");
  }

  @Property
  void losesNothingAndKeepsTheBudget(
      @ForAll("documents") String document, @ForAll @IntRange(min = 1, max = 40) int budget) {
    List<String> passages =
        new PassageSplitter(PassageSplitterTest::characters, budget).split(document);

    assertThat(String.join("", passages).replaceAll("\\s", ""))
        .isEqualTo(document.replaceAll("\\s", ""));
    assertThat(passages).allMatch(p -> characters(p) >= 1 && characters(p) <= budget);
    assertThat(passages).allMatch(p -> p.equals(p.strip()));
  }

  @Provide
  Arbitrary<String> documents() {
    return Arbitraries.of(
            "a",
            "Word",
            "longerword",
            ". ",
            "! ",
            "? ",
            " ",
            "\n",
            "\t",
            "\u3002",
            "\u4e2d",
            "\ud83d\ude00",
            "Dr. ",
            "3.5")
        .list()
        .ofMaxSize(60)
        .map(parts -> String.join("", parts));
  }

  @Test
  void budgetHoldsWithARealTokenizer() {
    try (Tokenizer tokenizer = Tokenizer.load(Stories.dir())) {
      String document =
          Strings.repeat("Once upon a time there was a dog. He saw \u72d0\u72f8 and ran! ", 50);
      List<String> passages =
          new PassageSplitter(text -> tokenizer.encodeText(text).length, 64).split(document);

      assertThat(passages)
          .hasSizeGreaterThan(10)
          .allMatch(passage -> tokenizer.encodeText(passage).length <= 64);
      assertThat(String.join(" ", passages)).isEqualTo(document.strip());
    }
  }
}
