package io.llara.prompt;

import com.google.common.primitives.ImmutableIntArray;
import com.google.common.primitives.Ints;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.TokenizationException;
import io.llara.prompt.PromptTemplate.Affix;
import io.llara.prompt.PromptTemplate.Part;
import io.llara.prompt.PromptTemplate.Text;
import io.llara.prompt.PromptTemplate.Token;
import io.llara.tokenize.Tokenizer;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Makes prompts of texts: a recipe resolved against a tokenizer.
 *
 * <p>The ids of prefixes and suffixes are fixed when the builder is made. A text is tokenised by
 * itself, cut at its end if it is too long, and set between them; prefix and suffix are never cut.
 *
 * <p>Immutable and thread-safe. It uses the tokenizer it was made from and does not close it.
 */
public final class PromptBuilder {
  private final Sides self;
  private final Sides next;
  private final Pooling pooling;
  private final Reserve reserve;
  private final @Nullable Tokenizer tokenizer;

  /**
   * One mode, resolved.
   *
   * @param joined the text that is tokenised together with a text, before it; maybe empty
   * @param pooled how many tokens at the end are pooled, if pooling begins there
   */
  private record Sides(
      ImmutableIntArray prefix, String joined, ImmutableIntArray suffix, int pooled) {
    TokenRange pooled(Pooling pooling, TokenRange text, int end) {
      return switch (pooling) {
        case LAST_TOKEN, MEAN_OF_MARKERS -> new TokenRange(end - pooled, end);
        case MEAN_OF_PROMPT -> new TokenRange(0, end);
        case MEAN_OF_TEXT -> text;
      };
    }
  }

  private PromptBuilder(
      Sides self, Sides next, Pooling pooling, Reserve reserve, @Nullable Tokenizer tokenizer) {
    this.self = self;
    this.next = next;
    this.pooling = pooling;
    this.reserve = reserve;
    this.tokenizer = tokenizer;
  }

  /**
   * Resolves a recipe against a tokenizer. Cuts reserve {@link Reserve#LONGER_SUFFIX}; see {@link
   * #withReserve}.
   *
   * @throws ModelLoadException if the tokenizer lacks tokens that the recipe names, or an
   *     end-of-sequence token that it wants; all that is missing is named
   */
  public static PromptBuilder create(PromptTemplate template, Tokenizer tokenizer) {
    List<String> missing = missingTokens(template, tokenizer);
    if (!missing.isEmpty()) {
      throw new ModelLoadException(
          "the tokenizer %s lacks %s, which the prompt template \"%s\" needs: this model was not made for it"
              .formatted(tokenizer, String.join(", ", missing), template.name()));
    }
    Tokenizer texts =
        tokenizer.reserving(
            parts(template)
                .filter(Token.class::isInstance)
                .map(part -> ((Token) part).token())
                .toList());
    Sides self = resolve(template.self(), template, texts);
    Sides next = resolve(template.next(), template, texts);
    return new PromptBuilder(self, next, template.pooling(), Reserve.LONGER_SUFFIX, texts);
  }

  /**
   * Returns what a recipe needs and a tokenizer lacks: names of tokens, or a description of the
   * end-of-sequence token. Empty if {@link #create} can make a builder of the two.
   */
  public static List<String> missingTokens(PromptTemplate template, Tokenizer tokenizer) {
    return parts(template)
        .filter(part -> !(part instanceof Text) && id(part, tokenizer).isEmpty())
        .map(part -> part instanceof Token token ? token.token() : "an eos_token")
        .distinct()
        .toList();
  }

  private static Stream<Part> parts(PromptTemplate template) {
    return Stream.of(template.self(), template.next())
        .flatMap(affix -> Stream.concat(affix.prefix().stream(), affix.suffix().stream()));
  }

  /**
   * Returns a builder with given ids and no tokenizer: only the methods that take ids work.
   *
   * @param prefix the ids before the text in both modes, BOS included
   * @param selfSuffix the ids after the text in mode SELF
   * @param nextSuffix the ids after the text in mode NEXT
   * @param pooledTokens how many tokens at the end of each suffix are pooled, at least 1
   * @throws IllegalArgumentException if an id is negative or a suffix shorter than its pooled part
   */
  public static PromptBuilder ofIds(
      int[] prefix, int[] selfSuffix, int[] nextSuffix, int pooledTokens) {
    requireIds(prefix, "prefix");
    requireIds(selfSuffix, "SELF suffix");
    requireIds(nextSuffix, "NEXT suffix");
    int shorter = Math.min(selfSuffix.length, nextSuffix.length);
    if (pooledTokens < 1 || pooledTokens > shorter) {
      throw new IllegalArgumentException(
          "the last %d tokens of each suffix cannot be pooled; the shorter suffix has %d"
              .formatted(pooledTokens, shorter));
    }
    ImmutableIntArray before = ImmutableIntArray.copyOf(prefix);
    return new PromptBuilder(
        new Sides(before, "", ImmutableIntArray.copyOf(selfSuffix), pooledTokens),
        new Sides(before, "", ImmutableIntArray.copyOf(nextSuffix), pooledTokens),
        Pooling.MEAN_OF_MARKERS,
        Reserve.LONGER_SUFFIX,
        null);
  }

  /** Returns a builder that differs in what a cut reserves. */
  public PromptBuilder withReserve(Reserve reserve) {
    return new PromptBuilder(self, next, pooling, reserve, tokenizer);
  }

  /** Returns what a cut reserves behind the text. */
  public Reserve reserve() {
    return reserve;
  }

  /**
   * Returns the prompt of a text in one mode, the text cut so that {@code maxTokens} hold prefix,
   * text and what is {@linkplain Reserve reserved}.
   *
   * @throws IllegalArgumentException if the text is empty or blank or gives no token, or {@code
   *     maxTokens} leaves no room for one
   * @throws TokenizationException if the text cannot be tokenised
   * @throws IllegalStateException if this builder has no tokenizer, or it is closed
   */
  public Prompt build(String text, Mode mode, int maxTokens) {
    return assemble(tokenize(text, mode), mode, room(mode, maxTokens));
  }

  /**
   * Returns the joint prompt of a text: both suffixes, each blind to the other. With {@link
   * Reserve#LONGER_SUFFIX} it may have more than {@code maxTokens} tokens, though no position
   * reaches {@code maxTokens}.
   *
   * @throws IllegalArgumentException as {@link #build}
   * @throws TokenizationException as {@link #build}
   * @throws IllegalStateException if the modes {@linkplain #canJoin cannot be joined}, or this
   *     builder has no tokenizer, or it is closed
   */
  public Prompt buildJoint(String text, int maxTokens) {
    requireJoinable();
    return assemble(tokenize(text, Mode.SELF), null, room(null, maxTokens));
  }

  /**
   * Returns the prompt of a text given as ids, uncut.
   *
   * @param textIds the text's ids, without BOS, prefix or suffix; of a joined template those of
   *     prefix and text
   * @throws IllegalArgumentException if there is none or one is negative
   */
  public Prompt fromIds(int[] textIds, Mode mode) {
    return assemble(requireText(textIds), mode, textIds.length);
  }

  /**
   * Returns the prompt of a text given as ids, cut as {@link #build} cuts.
   *
   * @throws IllegalArgumentException if there is none or one is negative, or {@code maxTokens}
   *     leaves no room for one
   */
  public Prompt fromIds(int[] textIds, Mode mode, int maxTokens) {
    return assemble(requireText(textIds), mode, room(mode, maxTokens));
  }

  /**
   * Returns the joint prompt of a text given as ids, uncut.
   *
   * @throws IllegalArgumentException if there is none or one is negative
   * @throws IllegalStateException if the modes {@linkplain #canJoin cannot be joined}
   */
  public Prompt jointFromIds(int[] textIds) {
    requireJoinable();
    return assemble(requireText(textIds), null, textIds.length);
  }

  /**
   * Returns the joint prompt of a text given as ids, cut as {@link #buildJoint} cuts.
   *
   * @throws IllegalArgumentException if there is none or one is negative, or {@code maxTokens}
   *     leaves no room for one
   * @throws IllegalStateException if the modes {@linkplain #canJoin cannot be joined}
   */
  public Prompt jointFromIds(int[] textIds, int maxTokens) {
    requireJoinable();
    return assemble(requireText(textIds), null, room(null, maxTokens));
  }

  /**
   * Returns whether one prompt can carry both modes: both have the same prefix, and each a suffix
   * in which pooling begins.
   */
  public boolean canJoin() {
    return haveSamePrefix()
        && Math.min(self.pooled, next.pooled) > 0
        && self.suffix.length() >= self.pooled
        && next.suffix.length() >= next.pooled;
  }

  private boolean haveSamePrefix() {
    return self.prefix.equals(next.prefix) && self.joined.equals(next.joined);
  }

  /**
   * Returns the least {@code maxTokens} that leaves room for one token of text in every kind of
   * prompt this builder makes.
   */
  public int minimumTokens() {
    int least = Math.max(overhead(Mode.SELF), overhead(Mode.NEXT));
    return Math.addExact(canJoin() ? Math.max(least, overhead(null)) : least, 1);
  }

  /** Returns the least {@code maxTokens} that leaves room for one token of text in {@code mode}. */
  public int minimumTokens(Mode mode) {
    return Math.addExact(overhead(mode), 1);
  }

  /** Returns the ids before the text in {@code mode}, BOS included, as a copy. */
  public int[] prefixIds(Mode mode) {
    return sides(mode).prefix.toArray();
  }

  /** Returns the ids after the text in {@code mode}, as a copy. */
  public int[] suffixIds(Mode mode) {
    return sides(mode).suffix.toArray();
  }

  private Sides sides(Mode mode) {
    return mode == Mode.SELF ? self : next;
  }

  /** How many tokens a prompt of a mode (null: joint) spends beside its text. */
  private int overhead(@Nullable Mode mode) {
    int selfSuffix = self.suffix.length();
    int nextSuffix = next.suffix.length();
    int reserved =
        switch (reserve) {
          case LONGER_SUFFIX -> Math.max(selfSuffix, nextSuffix);
          case BOTH_SUFFIXES -> selfSuffix + nextSuffix;
          case OWN_SUFFIX -> mode == null ? selfSuffix + nextSuffix : sides(mode).suffix.length();
        };
    return sides(mode == null ? Mode.SELF : mode).prefix.length() + reserved;
  }

  private int room(@Nullable Mode mode, int maxTokens) {
    int overhead = overhead(mode);
    if (maxTokens <= overhead) {
      throw new IllegalArgumentException(
          "maxTokens is %d, but prefix and suffix take %d: it must be at least %d"
              .formatted(maxTokens, overhead, overhead + 1));
    }
    return maxTokens - overhead;
  }

  private int[] tokenize(String text, Mode mode) {
    if (tokenizer == null) {
      throw new IllegalStateException(
          "this prompt builder was made from ids and has no tokenizer: give it ids, not text");
    }
    if (text.isBlank()) {
      throw new IllegalArgumentException(
          text.isEmpty() ? "the text is empty" : "the text is blank: nothing but white space");
    }
    int[] ids = tokenizer.encodeText(sides(mode).joined + text);
    if (ids.length == 0) {
      throw new IllegalArgumentException("the tokenizer makes no token of the text");
    }
    return ids;
  }

  private void requireJoinable() {
    if (!canJoin()) {
      throw new IllegalStateException(
          "this prompt template has no joint prompt: %s; make one prompt a mode"
              .formatted(
                  haveSamePrefix()
                      ? "a mode pools no suffix"
                      : "its modes have different prefixes"));
    }
  }

  private static int[] requireText(int[] textIds) {
    requireIds(textIds, "text");
    if (textIds.length == 0) {
      throw new IllegalArgumentException("the text has no token ids");
    }
    return textIds;
  }

  static void requireIds(int[] ids, String what) {
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0) {
        throw new IllegalArgumentException(what + " id " + i + " is negative: " + ids[i]);
      }
    }
  }

  /** Makes the prompt of a mode (null: joint) of at most {@code room} ids of a text. */
  private Prompt assemble(int[] textIds, @Nullable Mode mode, int room) {
    int[] text = Arrays.copyOf(textIds, Math.min(textIds.length, room));
    int[] prefix = prefixIds(mode == null ? Mode.SELF : mode);
    int[] selfSuffix = mode == Mode.NEXT ? new int[0] : suffixIds(Mode.SELF);
    int[] nextSuffix = mode == Mode.SELF ? new int[0] : suffixIds(Mode.NEXT);
    int[] ids = Ints.concat(prefix, text, selfSuffix, nextSuffix);
    int selfEnd = ids.length - nextSuffix.length;
    TokenRange textRange = new TokenRange(prefix.length, prefix.length + text.length);
    return new Prompt(
        ids,
        textRange,
        selfEnd,
        mode == Mode.NEXT
            ? new TokenRange(selfEnd, selfEnd)
            : self.pooled(pooling, textRange, selfEnd),
        mode == Mode.SELF
            ? new TokenRange(ids.length, ids.length)
            : next.pooled(pooling, textRange, ids.length),
        textIds.length - text.length);
  }

  private static Sides resolve(Affix affix, PromptTemplate template, Tokenizer tokenizer) {
    ImmutableIntArray.Builder prefix = ImmutableIntArray.builder().addAll(tokenizer.bosIds());
    ImmutableIntArray.Builder suffix = ImmutableIntArray.builder();
    StringBuilder joined = new StringBuilder();
    if (template.joined()) {
      affix.prefix().forEach(part -> joined.append(((Text) part).text()));
      suffix.addAll(tokenizer.closingIds());
    } else {
      prefix.addAll(resolve(affix.prefix(), tokenizer));
    }
    int pooled =
        switch (template.pooling()) {
          case LAST_TOKEN -> 1;
          case MEAN_OF_MARKERS -> affix.markers().size();
          case MEAN_OF_PROMPT, MEAN_OF_TEXT -> 0;
        };
    return new Sides(
        prefix.build(),
        joined.toString(),
        suffix.addAll(resolve(affix.suffix(), tokenizer)).build(),
        pooled);
  }

  private static ImmutableIntArray resolve(List<Part> parts, Tokenizer tokenizer) {
    ImmutableIntArray.Builder ids = ImmutableIntArray.builder();
    for (Part part : parts) {
      if (part instanceof Text text) {
        ids.addAll(tokenizer.encodeText(text.text()));
      } else {
        ids.add(id(part, tokenizer).getAsInt());
      }
    }
    return ids.build();
  }

  private static OptionalInt id(Part part, Tokenizer tokenizer) {
    return part instanceof Token token ? tokenizer.tokenId(token.token()) : tokenizer.eosId();
  }
}
