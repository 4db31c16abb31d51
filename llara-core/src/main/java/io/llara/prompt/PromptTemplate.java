package io.llara.prompt;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.llara.Mode;
import io.llara.ModelLoadException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A prompt recipe: what stands around a text in each mode, and which hidden states are pooled. An
 * immutable value; thread-safe.
 *
 * <p>In each mode a prompt is prefix + text + suffix. What the tokenizer itself puts before a text
 * (BOS, or nothing) comes first and is not part of a template. The three pieces are tokenised
 * separately and their ids concatenated. In a <em>joined</em> template prefix and text are one
 * piece, as the sentence-transformers library makes it, and what the tokenizer itself puts behind a
 * text comes before the suffix. With a byte-level tokenizer that gives other ids.
 *
 * <p>Two recipes have names: {@link #LLAMA2VEC}, that of the released checkpoints, and {@link
 * #PAPER}, that of the paper. A model only understands the recipe it was trained with. For others:
 *
 * <pre>{@code
 * PromptTemplate repLlama = PromptTemplate.builder("repllama")
 *     .selfPrefix("passage:").nextPrefix("query:").eos().build();
 *
 * PromptTemplate e5Mistral = PromptTemplate.builder("e5-mistral")
 *     .nextPrefix("Instruct: Given a web search query, retrieve relevant passages\nQuery:")
 *     .eos().build();
 * }</pre>
 *
 * @param name a short name, for messages and caches
 * @param self what surrounds a text in mode SELF (passages)
 * @param next what surrounds a text in mode NEXT (queries)
 * @param pooling which hidden states become the embedding
 * @param joined whether prefix and text are tokenised together; the prefixes are text alone then
 */
public record PromptTemplate(String name, Affix self, Affix next, Pooling pooling, boolean joined) {
  /**
   * The recipe of the released Llama2Vec checkpoints (LLARA-pretrain, -passage, -document, -beir):
   * {@code "T", summarize the above passage within eight words: <s1>…<s8>} and {@code "T", predict
   * the following passage within eight words: <s9>…<s16>}, mean of the markers.
   *
   * <p>The space before the markers is a token of its own in the LLaMA-2 vocabulary.
   */
  public static final PromptTemplate LLAMA2VEC =
      builder("llama2vec")
          .prefix("\"")
          .selfSuffix("\", summarize the above passage within eight words: ")
          .selfMarkers("<s1>", "<s2>", "<s3>", "<s4>", "<s5>", "<s6>", "<s7>", "<s8>")
          .nextSuffix("\", predict the following passage within eight words: ")
          .nextMarkers("<s9>", "<s10>", "<s11>", "<s12>", "<s13>", "<s14>", "<s15>", "<s16>")
          .pooling(Pooling.MEAN_OF_MARKERS)
          .build();

  /**
   * The recipe of the paper (arXiv 2312.15503 v1, section 3.1): {@code T The original sentence:
   * </s>} and {@code T The next sentence: </s>}, hidden state at {@code </s>}, which is the
   * configured end-of-sequence token.
   *
   * <p>The spaces of the printed form stand between pieces, not in them: a LLaMA tokenizer puts one
   * before each piece, and none before {@code </s>}.
   */
  public static final PromptTemplate PAPER =
      builder("llara-paper")
          .selfSuffix("The original sentence:")
          .nextSuffix("The next sentence:")
          .eos()
          .pooling(Pooling.LAST_TOKEN)
          .build();

  private static final ImmutableMap<String, PromptTemplate> BY_NAME =
      ImmutableMap.of(LLAMA2VEC.name, LLAMA2VEC, PAPER.name, PAPER);

  /** Checks the recipe. */
  public PromptTemplate {
    if (name.isBlank()) {
      throw new IllegalArgumentException("a prompt template needs a name");
    }
    if (pooling == Pooling.MEAN_OF_MARKERS
        && (self.markers().isEmpty() || next.markers().isEmpty())) {
      throw new IllegalArgumentException(
          "prompt template \"%s\" pools the mean of the markers, but the suffix of mode %s does not end in a token or eos part"
              .formatted(name, self.markers().isEmpty() ? Mode.SELF : Mode.NEXT));
    }
    if (joined
        && !Stream.concat(self.prefix().stream(), next.prefix().stream())
            .allMatch(Text.class::isInstance)) {
      throw new IllegalArgumentException(
          "prompt template \"%s\" is joined, but a prefix has a token or eos part; expected text"
              .formatted(name));
    }
  }

  /** Describes a recipe whose prefixes are tokenised by themselves. */
  public PromptTemplate(String name, Affix self, Affix next, Pooling pooling) {
    this(name, self, next, pooling, false);
  }

  /** One piece of a prefix or suffix. */
  public sealed interface Part permits Text, Token, Eos {}

  /**
   * Text, tokenised by itself: a token's name in it is text.
   *
   * @param text the text; not empty; spaces at its ends count
   */
  public record Text(String text) implements Part {
    /** Checks the text. */
    public Text {
      if (text.isEmpty()) {
        throw new IllegalArgumentException("a text part of a prompt template must not be empty");
      }
    }
  }

  /**
   * A single token of the tokenizer's vocabulary, by its exact name.
   *
   * @param token the name, such as {@code <s1>}
   */
  public record Token(String token) implements Part {
    /** Checks the name. */
    public Token {
      if (token.isEmpty()) {
        throw new IllegalArgumentException("a token part of a prompt template needs a name");
      }
    }
  }

  /** The tokenizer's configured end-of-sequence token, {@code </s>} in LLaMA and Mistral. */
  public record Eos() implements Part {}

  /**
   * What surrounds a text.
   *
   * @param prefix the pieces before it, after BOS; may be empty
   * @param suffix the pieces after it; may be empty, then a last-token pooling takes the last token
   *     of the text
   */
  public record Affix(List<Part> prefix, List<Part> suffix) {
    /** Copies the lists. */
    public Affix {
      prefix = ImmutableList.copyOf(prefix);
      suffix = ImmutableList.copyOf(suffix);
    }

    /** Returns the markers: the token and eos parts that end the suffix. */
    public List<Part> markers() {
      int begin = suffix.size();
      while (begin > 0 && !(suffix.get(begin - 1) instanceof Text)) {
        begin--;
      }
      return suffix.subList(begin, suffix.size());
    }
  }

  /**
   * Returns the prompt of a text as one string, without a tokenizer: for other engines, and to look
   * at. Tokens stand in it by name. What the tokenizer itself puts before a text is not in it, and
   * an engine that tokenises the whole as one piece may get other ids than {@link PromptBuilder},
   * which does so only where the template is {@linkplain #joined joined}, and then for prefix and
   * text.
   *
   * @param eos the name of the end-of-sequence token, such as {@code </s>}; does not matter where
   *     the template has none
   */
  public String render(String text, Mode mode, String eos) {
    Affix affix = mode == Mode.SELF ? self : next;
    return spelled(affix.prefix(), eos) + text + spelled(affix.suffix(), eos);
  }

  private static String spelled(List<Part> parts, String eos) {
    return parts.stream()
        .map(
            part ->
                part instanceof Text text
                    ? text.text()
                    : part instanceof Token token ? token.token() : eos)
        .collect(Collectors.joining());
  }

  /** Returns the recipe called {@code name}, or none. */
  public static Optional<PromptTemplate> byName(String name) {
    return Optional.ofNullable(BY_NAME.get(name));
  }

  /** Returns the names that {@link #byName} knows. */
  public static Collection<String> names() {
    return BY_NAME.keySet();
  }

  /** Returns whether this is the recipe that {@link #byName} has by its name. */
  public boolean isKnown() {
    return equals(BY_NAME.get(name));
  }

  /** Returns a builder of a recipe of one's own; it pools the last token by default. */
  public static Builder builder(String name) {
    return new Builder(name);
  }

  /**
   * Reads a recipe from its JSON form:
   *
   * <pre>{@code
   * {"name": "mine",
   *  "pooling": "mean_of_markers",
   *  "self": {"prefix": [{"text": "\""}], "suffix": [{"text": "\", sum up: "}, {"token": "<s1>"}]},
   *  "next": {"prefix": [{"text": "\""}], "suffix": [{"text": "\", go on: "}, {"eos": true}]}}
   * }</pre>
   *
   * {@code pooling} is a {@link Pooling} in lower case; {@code joined} is true or false, absent for
   * false; an absent prefix or suffix is empty; nothing else may be absent.
   *
   * @throws ModelLoadException if it is not JSON, or not of this form; unknown keys are named
   */
  public static PromptTemplate fromJson(String json) {
    return PromptTemplateJson.read(json);
  }

  /** Returns the JSON form that {@link #fromJson} reads. */
  public String toJson() {
    return PromptTemplateJson.write(this);
  }

  /** Collects the parts of a recipe. Not thread-safe. */
  public static final class Builder {
    private final String name;
    private final Side self = new Side();
    private final Side next = new Side();
    private Pooling pooling = Pooling.LAST_TOKEN;
    private boolean eos;
    private boolean joined;

    private Builder(String name) {
      this.name = name;
    }

    /** Sets the text before the text, in both modes. */
    public Builder prefix(String text) {
      return selfPrefix(text).nextPrefix(text);
    }

    /** Sets the text before the text, in mode SELF; empty for none. */
    public Builder selfPrefix(String text) {
      self.prefix = text;
      return this;
    }

    /** Sets the text before the text, in mode NEXT; empty for none. */
    public Builder nextPrefix(String text) {
      next.prefix = text;
      return this;
    }

    /** Sets the text after the text, in mode SELF; empty for none. */
    public Builder selfSuffix(String text) {
      self.suffix = text;
      return this;
    }

    /** Sets the text after the text, in mode NEXT; empty for none. */
    public Builder nextSuffix(String text) {
      next.suffix = text;
      return this;
    }

    /** Sets the tokens that end the suffix of mode SELF, by name. */
    public Builder selfMarkers(String... tokens) {
      self.markers = ImmutableList.copyOf(tokens);
      return this;
    }

    /** Sets the tokens that end the suffix of mode NEXT, by name. */
    public Builder nextMarkers(String... tokens) {
      next.markers = ImmutableList.copyOf(tokens);
      return this;
    }

    /** Ends both suffixes, after any markers, with the end-of-sequence token. */
    public Builder eos() {
      eos = true;
      return this;
    }

    /** Has prefix and text tokenised together, as one text. */
    public Builder joined() {
      joined = true;
      return this;
    }

    /** Sets which hidden states become the embedding; {@link Pooling#LAST_TOKEN} by default. */
    public Builder pooling(Pooling pooling) {
      this.pooling = pooling;
      return this;
    }

    /**
     * Returns the recipe.
     *
     * @throws IllegalArgumentException if the name is blank, or markers are to be pooled and a mode
     *     has none
     */
    public PromptTemplate build() {
      return new PromptTemplate(name, self.affix(eos), next.affix(eos), pooling, joined);
    }

    private static final class Side {
      private String prefix = "";
      private String suffix = "";
      private List<String> markers = ImmutableList.of();

      private Affix affix(boolean eos) {
        List<Part> after = new ArrayList<>(text(suffix));
        markers.forEach(marker -> after.add(new Token(marker)));
        if (eos) {
          after.add(new Eos());
        }
        return new Affix(text(prefix), after);
      }

      private static List<Part> text(String text) {
        return text.isEmpty() ? ImmutableList.of() : ImmutableList.of(new Text(text));
      }
    }
  }
}
