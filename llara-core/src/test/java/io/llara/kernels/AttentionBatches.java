package io.llara.kernels;

import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.Arguments;

/** Batches that attention must get right: of one row, of more than a block, joint, alike, mixed. */
final class AttentionBatches {
  private static final PromptBuilder PROMPTS =
      PromptBuilder.ofIds(new int[] {1}, new int[] {2, 3, 4}, new int[] {5, 6, 7, 8, 9}, 2);

  private AttentionBatches() {}

  static List<List<Prompt>> all() {
    return List.of(
        List.of(plain(1)),
        List.of(plain(129)),
        List.of(plain(300)),
        List.of(plain(5), plain(5), plain(5), plain(2), plain(2)),
        List.of(plain(1), plain(64), plain(128), plain(130)),
        List.of(joint(1)),
        List.of(joint(140), plain(3), joint(7)),
        List.of(single(20, Mode.SELF), joint(20), single(20, Mode.NEXT), plain(20)));
  }

  /** Returns every batch with every pair of query and key heads, in every type. */
  static Stream<Arguments> withHeads(int[][] heads) {
    List<Arguments> cases = new ArrayList<>();
    for (List<Prompt> batch : all()) {
      for (int[] head : heads) {
        for (KernelsContract.Type type : KernelsContract.Type.values()) {
          cases.add(Arguments.of(batch, head[0], head[1], type));
        }
      }
    }
    return cases.stream();
  }

  static Prompt plain(int length) {
    return Prompt.plain(new int[length]);
  }

  static Prompt joint(int length) {
    return PROMPTS.jointFromIds(new int[length]);
  }

  private static Prompt single(int length, Mode mode) {
    return PROMPTS.fromIds(new int[length], mode);
  }

  /** Returns the rows that a model's last layer would compute, ascending; may be none. */
  static int[] pooledRows(AttentionMask mask) {
    return IntStream.range(0, mask.sequences())
        .boxed()
        .flatMap(i -> Stream.of(Mode.values()).map(mode -> mask.pooled(i, mode)))
        .flatMapToInt(range -> IntStream.range(range.begin(), range.end()))
        .sorted()
        .toArray();
  }
}
