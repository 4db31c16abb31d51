package io.llara.testing;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Texts of all lengths, made of a few words by a seed. */
public final class Texts {
  private static final String[] WORDS = {
    "once", "upon", "a", "time", "there", "was", "little", "dog", "who", "liked", "to", "play",
        "with",
    "the", "ball", "in", "park", "and", "Lily", "said", "\"hello\"", "ñandú", "夏目漱石", "🦙", "<s1>",
        "</s>"
  };

  private Texts() {}

  /** Returns texts between one word and {@code longest} words. */
  public static List<String> random(int count, int longest, long seed) {
    Random random = new Random(seed);
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      texts.add(words(1 + random.nextInt(longest), random));
    }
    return texts;
  }

  private static String words(int count, Random random) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < count; i++) {
      text.append(i == 0 ? "" : " ").append(WORDS[random.nextInt(WORDS.length)]);
    }
    return text.toString();
  }
}
