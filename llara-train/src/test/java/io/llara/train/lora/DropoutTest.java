package io.llara.train.lora;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class DropoutTest {
  @Test
  void drawsFromAGeneratorOfItsOwn() {
    Libtorch.load();
    try (TensorScope scope = new TensorScope()) {
      long before = torch.globalContext().defaultGenerator(torch.zeros(1).device()).current_seed();
      Dropout dropout = new Dropout(0.5);
      Tensor x = torch.ones(100, 30);
      dropout.start(11);
      float[] first = Tensors.toFloats(dropout.apply(x, 3));
      float[] other = Tensors.toFloats(dropout.apply(x, 4));
      torch.rand(5); // Somebody else draws.
      float[] again = Tensors.toFloats(dropout.apply(x, 3));
      dropout.stop();

      long seed = Dropout.mix(Dropout.mix(11) + 3);
      Tensor expected =
          torch
              .empty(100, 30)
              .bernoulli_(0.5, new GeneratorOptional(torch.make_generator_cpu(seed)))
              .mul_(new Scalar(2.0));
      assertThat(first).isEqualTo(Tensors.toFloats(expected)).isEqualTo(again).isNotEqualTo(other);
      assertThat(Tensors.toFloats(dropout.apply(x, 3))).containsOnly(1);
      assertThat(torch.globalContext().defaultGenerator(x.device()).current_seed())
          .isEqualTo(before);
    }
  }
}
