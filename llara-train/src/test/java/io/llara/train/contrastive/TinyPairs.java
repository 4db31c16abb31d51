package io.llara.train.contrastive;

import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.train.testing.TinyLlama;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Queries and passages of different lengths for {@link TinyLlama}.
 *
 * @param queries in mode NEXT
 * @param passages in mode SELF, as many for each query
 */
record TinyPairs(List<Prompt> queries, List<Prompt> passages) {

  static TinyPairs random(int queries, int group, long seed) {
    Random random = new Random(seed);
    List<Prompt> prompts = new ArrayList<>();
    for (int i = 0; i < queries; i++) {
      prompts.add(prompt(random, Mode.NEXT));
    }
    List<Prompt> passages = new ArrayList<>();
    for (int i = 0; i < queries * group; i++) {
      passages.add(prompt(random, Mode.SELF));
    }
    return new TinyPairs(prompts, passages);
  }

  private static Prompt prompt(Random random, Mode mode) {
    int[] text = TinyLlama.ids(random, 2 + random.nextInt(8));
    return TinyLlama.prompts(2).fromIds(text, mode);
  }

  int group() {
    return passages.size() / queries.size();
  }

  List<Prompt> all() {
    List<Prompt> all = new ArrayList<>(queries);
    all.addAll(passages);
    return all;
  }
}
