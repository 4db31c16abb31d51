package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.llara.testing.Leaks;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class TensorScopeTest {

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  private static Tensor three() {
    return Tensors.ofFloats(new float[] {3}, 1);
  }

  @Test
  void freesWhatWasMadeInIt() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            three().add(three()).mul(three());
            scope.free(three());
          }
        });
  }

  @Test
  void handsWhatIsKeptToTheScopeAround() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope outer = new TensorScope()) {
            Tensor kept;
            try (TensorScope inner = new TensorScope()) {
              kept = inner.keep(three());
            }
            assertThat(Tensors.toFloats(kept)).containsExactly(3);
          }
        });
  }

  @Test
  void keepsTheResultOfAnOperationInPlace() {
    try (TensorScope outer = new TensorScope()) {
      Tensor kept;
      try (TensorScope inner = new TensorScope()) {
        kept = inner.keep(three().add_(three()));
      }
      assertThat(Tensors.toFloats(kept)).containsExactly(6);
    }
  }

  @Test
  void whatIsOwnedLivesUntilItIsClosed() throws Throwable {
    Leaks.assertNone(
        () -> {
          Tensor owned;
          try (TensorScope scope = new TensorScope()) {
            owned = scope.own(three());
          }
          assertThat(Tensors.toFloats(owned)).containsExactly(3);
          owned.close();
        });
  }

  @Test
  void whatIsAdoptedDiesWithTheScope() throws Throwable {
    Leaks.assertNone(
        () -> {
          Tensor owned;
          try (TensorScope scope = new TensorScope()) {
            owned = scope.own(three());
          }
          try (TensorScope scope = new TensorScope()) {
            assertThat(Tensors.toFloats(TensorScope.adopt(owned))).containsExactly(3);
          }
        });
  }

  @Test
  void thereIsNothingToKeepForWithoutAScopeAround() {
    try (TensorScope scope = new TensorScope()) {
      assertThatIllegalStateException().isThrownBy(() -> scope.keep(three()));
    }
  }

  @Test
  void thereIsNothingToAdoptIntoWithoutAScope() {
    Tensor owned;
    try (TensorScope scope = new TensorScope()) {
      owned = scope.own(three());
    }
    assertThatIllegalStateException().isThrownBy(() -> TensorScope.adopt(owned));
    owned.close();
  }
}
