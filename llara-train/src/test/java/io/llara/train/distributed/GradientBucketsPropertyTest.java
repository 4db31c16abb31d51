package io.llara.train.distributed;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import net.jqwik.api.constraints.Size;
import org.bytedeco.pytorch.Tensor;

class GradientBucketsPropertyTest {

  @Property(tries = 40)
  void everyGradientIsTheSumHoweverTheyArePacked(
      @ForAll @Size(min = 1, max = 12) List<@IntRange(min = 1, max = 40) Integer> sizes,
      @ForAll @LongRange(min = 1, max = 400) long bucketBytes,
      @ForAll Random random) {
    long[] elements = sizes.stream().mapToLong(size -> size).toArray();
    List<Integer> order = new ArrayList<>(IntStream.range(0, elements.length).boxed().toList());
    try (TensorScope scope = new TensorScope();
        GradientBuckets buckets =
            new GradientBuckets(new TwinCommunicator(), elements, bucketBytes)) {
      for (int round = 0; round < 2; round++) {
        Collections.shuffle(order, random);
        List<Tensor> gradients = new ArrayList<>();
        for (int i = 0; i < elements.length; i++) {
          gradients.add(Tensors.ofFloats(filled(sizes.get(i), i + round), 1, sizes.get(i)));
        }
        order.forEach(i -> buckets.ready(i, gradients.get(i)));
        buckets.finish();
        for (int i = 0; i < elements.length; i++) {
          assertThat(Tensors.toFloats(gradients.get(i)))
              .isEqualTo(filled(sizes.get(i), 2 * (i + round)));
        }
      }
    }
  }

  private static float[] filled(int length, int value) {
    float[] values = new float[length];
    Arrays.fill(values, value);
    return values;
  }
}
