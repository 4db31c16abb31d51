package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.OutOfDeviceMemoryException;
import io.llara.Similarity;
import io.llara.engine.FakeAccelerators.Fake;
import io.llara.kernels.Accelerators;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Devices beside the processor: found by name, used, and what happens when they fail. */
class AcceleratorTest {
  private static final Fake DEVICE = FakeAccelerators.ROOMY;
  private static final Fake TWIN = FakeAccelerators.TWIN;

  private static final String TEXT = "once upon a time there was a llama who lived on a hill";

  @AfterEach
  void recover() {
    DEVICE.recover();
    TWIN.recover();
  }

  private static EncoderBuilder builder(String device) {
    return Encoder.builder(Stories.dir())
        .template(PromptTemplate.PAPER)
        .computeType(ComputeType.FLOAT32)
        .device(device);
  }

  @ParameterizedTest
  @ValueSource(strings = {"fake", "fake:0", "auto"})
  void theWholeForwardPassUsesTheDevicesKernels(String device) throws Throwable {
    float[] expected;
    try (Encoder processor = builder("cpu").build()) {
      expected = processor.encode(TEXT, Mode.SELF);
      assertThat(processor.device()).isEqualTo("cpu");
    }
    int uploads = DEVICE.uploads.get();
    int attentions = DEVICE.attentions.get();

    try (Encoder encoder = builder(device).build()) {
      float[] actual = encoder.encode(TEXT, Mode.SELF);

      assertThat(Similarity.cosine(actual, expected)).isGreaterThan(0.999999);
      assertThat(encoder.device()).isEqualTo("fake:0");
      assertThat(encoder.lanes()).isEqualTo(2);
    }

    // Five layers of nine weights each, the embedding matrix and the final norm; q, k and v are
    // joined after they were uploaded.
    assertThat(DEVICE.uploads.get() - uploads).isEqualTo(5 * 9 + 2);
    assertThat(DEVICE.attentions.get() - attentions).isEqualTo(5);
    assertThat(DEVICE.lanes).hasValue(0);
  }

  @Test
  void nothingLeaks() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (Encoder encoder = builder("fake").build()) {
            encoder.encodeBoth(TEXT);
            DEVICE.failure = "fake: lost";
            assertThatThrownBy(() -> encoder.encode(TEXT, Mode.SELF))
                .isInstanceOf(DeviceException.class);
          } finally {
            DEVICE.recover();
          }
        });
  }

  @Test
  void withoutAModuleTheMessageSaysWhatToAdd() {
    assertThatThrownBy(() -> builder("cuda").build())
        .isInstanceOf(DeviceException.class)
        .hasMessage(
            "device cuda: no kernels for it are on the class path; add the dependencies"
                + " io.llara:llara-cuda and io.llara:llara-natives-gpu (type pom), or choose device"
                + " cpu");
  }

  @Test
  void devicesThatAreNotThereAreRefused() {
    assertThatThrownBy(() -> builder("fake:3").build())
        .isInstanceOf(DeviceException.class)
        .hasMessage("there is no device fake:3; this machine has fake:0 to fake:2");
    assertThatThrownBy(() -> builder("tpu").build())
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("there is no device tpu; expected cpu, auto or one of [cuda]");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder("cuda:first").build())
        .withMessage(
            "device is \"cuda:first\"; expected cpu, auto, cuda, or such as cuda:0, cuda:0,1 or cuda:all");
    assertThatThrownBy(() -> Accelerators.open("GPU 0"))
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("'GPU 0'");
  }

  @Test
  void typesThatADeviceDoesNotKnowAreRefused() {
    assertThatThrownBy(() -> builder("fake").computeType(ComputeType.FLOAT16).build())
        .isInstanceOf(DeviceException.class)
        .hasMessage("fake:0 does not compute in float16");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder("cpu").computeType(ComputeType.FLOAT16).build())
        .withMessageContaining("float16 is for GPUs");
  }

  @Test
  void whatCannotFitIsRefusedBeforeAnythingIsLoaded() {
    int uploads = FakeAccelerators.SMALL.uploads.get();

    assertThatThrownBy(() -> builder("fake:2").build())
        .isInstanceOf(OutOfDeviceMemoryException.class)
        .hasMessageMatching(
            "fake:2 has 0.00 GiB free; the model takes .* GiB for its weights and .* GiB for"
                + " batches of 8192 tokens: choose a type of fewer bytes, a smaller model or"
                + " another device");

    assertThat(FakeAccelerators.SMALL.uploads).hasValue(uploads);
  }

  @Test
  void aBatchThatIsTooLargeIsHalvedUntilItFits() {
    List<String> texts = Collections.nCopies(40, TEXT);
    try (Encoder encoder = builder("fake").build()) {
      List<float[]> expected = encoder.encodeAll(texts, Mode.SELF);
      DEVICE.mostRows = 100;

      List<float[]> actual = encoder.encodeAll(texts, Mode.SELF);

      assertThat(actual).hasSize(40);
      for (int i = 0; i < 40; i++) {
        assertThat(Similarity.cosine(actual.get(i), expected.get(i))).isGreaterThan(0.999999);
      }
    }
  }

  @Test
  void aTextThatDoesNotFitAloneIsReportedAndTheEncoderGoesOn() {
    try (Encoder encoder = builder("fake").build()) {
      DEVICE.mostRows = 5;
      assertThatThrownBy(() -> encoder.encodeAll(List.of(TEXT, TEXT), Mode.SELF))
          .isInstanceOf(OutOfDeviceMemoryException.class)
          .hasMessageContainingAll(
              "fake:0 has too little memory for", "which are one text", "maxTokens");
      DEVICE.recover();
      assertThat(encoder.encode(TEXT, Mode.SELF)).hasSize(64);
    }
  }

  @Test
  void memoryIsHalvedABoundedNumberOfTimes() {
    try (Encoder encoder = builder("fake").threads(1).build()) {
      DEVICE.mostRows = 60; // Less than a 16th of the batch, more than a text.
      assertThatThrownBy(() -> encoder.encodeAll(Collections.nCopies(60, TEXT), Mode.SELF))
          .isInstanceOf(OutOfDeviceMemoryException.class)
          .hasMessageContaining("tokens at once; choose a smaller batchTokens");
    }
  }

  @Test
  void aLostDeviceIsNamedAndOthersGoOn() {
    try (Encoder encoder = builder("fake").build();
        Encoder processor = builder("cpu").build()) {
      DEVICE.failure = "fake: the device is lost";
      assertThatThrownBy(() -> encoder.encode(TEXT, Mode.SELF))
          .isInstanceOf(DeviceException.class)
          .hasMessage("fake: the device is lost");
      assertThat(processor.encode(TEXT, Mode.SELF)).hasSize(64);
      DEVICE.failure = "something else";
      assertThatThrownBy(() -> encoder.encode(TEXT, Mode.SELF))
          .isExactlyInstanceOf(LlaraException.class)
          .hasMessage("the forward pass failed: something else");
    }
  }

  private static List<String> texts(int count) {
    return IntStream.range(0, count)
        .mapToObj(i -> TEXT.substring(0, 5 + i % (TEXT.length() - 5)) + " " + i)
        .toList();
  }

  @Test
  void severalDevicesShareTheWork() throws Throwable {
    List<String> texts = texts(200);
    List<float[]> expected;
    try (Encoder processor = builder("cpu").build()) {
      expected = processor.encodeAll(texts, Mode.SELF);
    }
    // Neither goes on before both have begun.
    CyclicBarrier both = new CyclicBarrier(2);
    for (Fake device : List.of(DEVICE, TWIN)) {
      AtomicBoolean first = new AtomicBoolean(true);
      device.meanwhile =
          () -> {
            if (first.getAndSet(false)) {
              awaitAt(both);
            }
          };
    }
    try (Encoder encoder = builder("fake:0,1").build()) {
      assertThat(encoder.device()).isEqualTo("fake:0,1");
      assertThat(encoder.lanes()).isEqualTo(4);
      assertThat(DEVICE.lanes).hasValueLessThanOrEqualTo(2);

      List<float[]> actual = encoder.encodeAll(texts, Mode.SELF);

      assertThat(both.isBroken()).isFalse();
      for (int i = 0; i < texts.size(); i++) {
        assertThat(Similarity.cosine(actual.get(i), expected.get(i))).isGreaterThan(0.999999);
      }
      assertThat(encoder.encodeAll(texts, Mode.SELF))
          .usingRecursiveComparison()
          .isEqualTo(actual); // To the bit, whichever device a batch met.
    }
    assertThat(DEVICE.lanes).hasValue(0);
    assertThat(TWIN.lanes).hasValue(0);
    Leaks.assertNone(
        () -> {
          try (Encoder encoder = builder("fake:1,0").threads(1).build()) {
            assertThat(encoder.device()).isEqualTo("fake:1,0");
            assertThat(encoder.lanes()).isEqualTo(2);
            encoder.encodeAll(texts.subList(0, 20), Mode.SELF);
          }
        });
  }

  private static void awaitAt(CyclicBarrier barrier) {
    try {
      barrier.await(20, TimeUnit.SECONDS);
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void anErrorOnOneOfSeveralDevicesIsReported() {
    CountDownLatch failed = new CountDownLatch(1);
    TWIN.meanwhile = failed::countDown;
    TWIN.failure = "fake: fake:1 is lost";
    // The other leaves work for it.
    DEVICE.meanwhile = () -> Uninterruptibles.awaitUninterruptibly(failed, 20, TimeUnit.SECONDS);
    try (Encoder encoder = builder("fake:0,1").build()) {
      assertThatThrownBy(() -> encoder.encodeAll(texts(100), Mode.SELF))
          .isInstanceOf(DeviceException.class)
          .hasMessage("fake: fake:1 is lost");
      TWIN.recover();
      assertThat(encoder.encodeAll(texts(100), Mode.SELF)).hasSize(100);
    }
    assertThat(TWIN.lanes).hasValue(0);
  }

  @Test
  void eachOfSeveralDevicesHalvesByItself() {
    TWIN.mostRows = 60;
    try (Encoder encoder = builder("fake:0,1").build()) {
      for (int i = 0; i < 3; i++) {
        assertThat(encoder.encodeAll(texts(60), Mode.SELF)).hasSize(60);
      }
    }
  }

  @Test
  void severalDevicesAreRefusedTogether() {
    int uploads = DEVICE.uploads.get();
    assertThatThrownBy(() -> builder("fake:all").build())
        .isInstanceOf(OutOfDeviceMemoryException.class)
        .hasMessageStartingWith("fake:2 has 0.00 GiB free");
    assertThatThrownBy(() -> builder("fake:0,0").build())
        .isInstanceOf(DeviceException.class)
        .hasMessage("device fake:0,0 names fake:0 twice");
    assertThatThrownBy(() -> builder("fake:0,7").build())
        .isInstanceOf(DeviceException.class)
        .hasMessage("there is no device fake:7; this machine has fake:0 to fake:2");
    TWIN.preferred = ComputeType.BFLOAT16;
    assertThatThrownBy(() -> builder("fake:0,1").computeType(ComputeType.AUTO).build())
        .isInstanceOf(DeviceException.class)
        .hasMessage(
            "fake:0 computes in float32, fake:1 in bfloat16; choose a compute type that suits both");
    assertThatThrownBy(() -> Accelerators.open("fake:all"))
        .isInstanceOf(DeviceException.class)
        .hasMessage("fake:all is 3 devices; expected one");
    assertThat(Accelerators.openAll("fake:all")).hasSize(3);
    assertThat(DEVICE.uploads).hasValue(uploads);
  }

  @Test
  void whatWasLoadedIsFreedWhereALaterDeviceFails() throws Throwable {
    TWIN.refusesUploads = true;
    Leaks.assertNone(
        () ->
            assertThatThrownBy(() -> builder("fake:0,1").build())
                .isInstanceOf(DeviceException.class)
                .hasMessage("fake: fake:1 takes nothing"));
  }

  @Test
  void eachOfSeveralProcessesHasADeviceOfItsOwn() {
    assertThat(Accelerators.openOne("fake", 1)).contains(TWIN);
    assertThat(Accelerators.openOne("fake:all", 2)).contains(FakeAccelerators.SMALL);
    assertThat(Accelerators.openOne("fake:1,0", 0)).contains(TWIN);
    assertThat(Accelerators.openOne("auto", 1)).contains(TWIN);
    assertThat(Accelerators.openOne("cpu", 1)).isEmpty();
    assertThatThrownBy(() -> Accelerators.openOne("fake:1", 1))
        .isInstanceOf(DeviceException.class)
        .hasMessage(
            "there is no device for process 1 of this machine: fake:1 is 1; start fewer processes,"
                + " or name more devices");
  }
}
