package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class LibtorchTest {

  @Test
  void theThreadsOfAThreadStayWhenAnotherSetsItsOwn() throws Exception {
    ExecutorService one = Executors.newSingleThreadExecutor();
    ExecutorService other = Executors.newSingleThreadExecutor();
    try {
      Libtorch.load();
      one.submit(() -> Libtorch.useThreads(1)).get();
      other.submit(() -> Libtorch.useThreads(2)).get();

      assertThat(one.submit(torch::get_num_threads).get()).isEqualTo(1);
      assertThat(other.submit(torch::get_num_threads).get()).isEqualTo(2);
    } finally {
      other.submit(() -> Libtorch.useThreads(1)).get();
      one.shutdown();
      other.shutdown();
    }
  }
}
