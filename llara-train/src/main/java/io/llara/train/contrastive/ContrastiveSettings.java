package io.llara.train.contrastive;

import io.llara.prompt.PromptTemplate;
import io.llara.train.data.FewNegatives;
import io.llara.train.data.GroupSampler;
import io.llara.train.run.RunOptions;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** What a {@link ContrastiveTrainer} was told, checked and with every default filled in. */
record ContrastiveSettings(
    RunOptions options,
    double temperature,
    boolean normalize,
    int negatives,
    FewNegatives fewNegatives,
    int queryMaxTokens,
    int passageMaxTokens,
    TextModes modes,
    int subBatch,
    Optional<PromptTemplate> template,
    Optional<Refresh> refresh) {

  /** Refuses what leaves nothing to learn. */
  ContrastiveSettings {
    if (options.batch() == 1 && negatives == 0) {
      throw new IllegalArgumentException(
          "a batch of 1 query with 0 negatives: its positive passage is the only one");
    }
  }

  int maxTokens() {
    return Math.max(queryMaxTokens, passageMaxTokens);
  }

  GroupSampler groups() {
    return new GroupSampler(negatives, fewNegatives, options.seed());
  }

  /** Returns those of them that decide the numbers of a run, by name. */
  Map<String, String> deciding(PromptTemplate prompts) {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("objective", "InfoNCE");
    boolean known = PromptTemplate.byName(prompts.name()).filter(prompts::equals).isPresent();
    values.put("template", known ? prompts.name() : prompts.toJson());
    values.put("temperature", String.valueOf(temperature));
    values.put("normalize", String.valueOf(normalize));
    values.put("negatives", String.valueOf(negatives));
    values.put("few negatives", fewNegatives.toString());
    values.put("query max tokens", String.valueOf(queryMaxTokens));
    values.put("passage max tokens", String.valueOf(passageMaxTokens));
    values.put("modes", modes.spelled());
    values.put("sub-batch", String.valueOf(subBatch));
    values.put("refresh", refresh.map(Refresh::spelled).orElse("none"));
    return values;
  }
}
