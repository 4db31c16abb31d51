package io.llara.examples;

import io.llara.EncoderBuilder;
import io.llara.TextModes;
import java.util.Optional;
import picocli.CommandLine.Option;

/** How queries and passages are embedded; by default as the model was trained. */
final class KindOptions {
  @Option(
      names = "--modes",
      paramLabel = "n2s|s2s|n2n",
      description =
          "n2s: queries in mode NEXT, passages in mode SELF; s2s: both in SELF; n2n: both in NEXT"
              + " (default: as the model was trained).")
  private Optional<TextModes> modes = Optional.empty();

  @Option(
      names = "--query-max-tokens",
      paramLabel = "N",
      description =
          "Maximum length of a query's prompt; longer texts are truncated (default: --max-tokens,"
              + " else as the model was trained).")
  private Optional<Integer> queryMaxTokens = Optional.empty();

  @Option(
      names = "--passage-max-tokens",
      paramLabel = "N",
      description = "Maximum length of a passage's prompt, likewise.")
  private Optional<Integer> passageMaxTokens = Optional.empty();

  /** Hands the options given to a builder. */
  EncoderBuilder applyTo(EncoderBuilder builder) {
    modes.ifPresent(builder::modes);
    queryMaxTokens.ifPresent(builder::queryMaxTokens);
    passageMaxTokens.ifPresent(builder::passageMaxTokens);
    return builder;
  }
}
