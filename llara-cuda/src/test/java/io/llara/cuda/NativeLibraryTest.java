package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.DeviceException;
import io.llara.tensor.Libtorch;
import io.llara.testing.Leaks;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Functions of the C library, which every Linux has. */
class NativeLibraryTest {

  @BeforeEach
  void load() {
    assumeTrue(
        NativeLibrary.class.getResource("linux-x86_64/libllara-cuda.so") != null,
        "this build has no bridge to CUDA");
    Libtorch.load();
  }

  @Test
  void callsFunctionsByName() throws Throwable {
    NativeLibrary c = NativeLibrary.open(List.of("libnowhere.so", "libc.so.6"));
    assertThat(c.file()).isEqualTo("libc.so.6");
    Leaks.assertNone(
        () -> {
          try (BytePointer text = new BytePointer("llama")) {
            assertThat(c.call("strlen", text.address())).isEqualTo(5);
            assertThat(NativeLibrary.text(c.call("strchr", text.address(), 'm'))).isEqualTo("ma");
          }
        });
    assertThat((int) c.call("atoi", new BytePointer("-7").address())).isEqualTo(-7);
  }

  @Test
  void elevenArgumentsArriveInTheirOrder() {
    NativeLibrary c = NativeLibrary.open(List.of("libc.so.6"));
    try (BytePointer out = new BytePointer(200);
        BytePointer format = new BytePointer("%ld %ld %ld %ld %ld %ld %ld %ld")) {
      c.call("snprintf", out.address(), 200, format.address(), 1, 2, 3, 4, 5, 6, 7, -8);
      assertThat(NativeLibrary.text(out.address())).isEqualTo("1 2 3 4 5 6 7 -8");
    }
  }

  @Test
  void whatIsMissingIsNamed() {
    assertThatThrownBy(() -> NativeLibrary.open(List.of("libnowhere.so.1")))
        .isInstanceOf(DeviceException.class)
        .hasMessageContainingAll("cannot be loaded", "libnowhere.so.1");
    NativeLibrary c = NativeLibrary.open(List.of("libc.so.6"));
    assertThatThrownBy(() -> c.call("cuInit", 0))
        .isInstanceOf(DeviceException.class)
        .hasMessage("libc.so.6 has no function cuInit");
  }
}
