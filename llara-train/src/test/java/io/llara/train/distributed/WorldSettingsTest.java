package io.llara.train.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class WorldSettingsTest {
  private static final Map<String, String> GOOD =
      Map.of(
          "RANK", "5",
          "WORLD_SIZE", "8",
          "LOCAL_RANK", "1",
          "MASTER_ADDR", "10.0.0.7",
          "MASTER_PORT", "29500");

  @Test
  void readsWhatTorchrunSets() {
    assertThat(WorldSettings.from(GOOD)).contains(new WorldSettings(5, 8, 1, "10.0.0.7", 29500));
  }

  @Test
  void aloneWithoutAny() {
    assertThat(WorldSettings.from(Map.of("PATH", "/bin", "LOCAL_WORLD_SIZE", "2"))).isEmpty();
    assertThat(WorldSettings.from(Map.of("RANK", " ", "MASTER_ADDR", ""))).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"})
  void namesTheMissingOne(String name) {
    Map<String, String> environment = new HashMap<>(GOOD);
    environment.remove(name);
    assertThatThrownBy(() -> WorldSettings.from(environment))
        .isInstanceOf(LlaraException.class)
        .hasMessage("environment variables of a group of processes: missing: " + name);
  }

  @ParameterizedTest
  @CsvSource({
    "RANK, 8, RANK is 8",
    "RANK, -1, RANK is -1",
    "RANK, one, RANK is 'one'",
    "RANK, 5.0, RANK is '5.0'",
    "WORLD_SIZE, 0, WORLD_SIZE is 0",
    "WORLD_SIZE, 99999999999, WORLD_SIZE is '99999999999'",
    "LOCAL_RANK, -3, LOCAL_RANK is -3",
    "LOCAL_RANK, 8, LOCAL_RANK is 8",
    "MASTER_PORT, 0, MASTER_PORT is 0",
    "MASTER_PORT, 65536, MASTER_PORT is 65536",
    "LLARA_LAUNCHER, me, LLARA_LAUNCHER is 'me'"
  })
  void saysWhatMakesNoSense(String name, String value, String expected) {
    Map<String, String> environment = new HashMap<>(GOOD);
    environment.put(name, value);
    assertThatThrownBy(() -> WorldSettings.from(environment))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(expected)
        .hasMessageContaining("expected");
  }

  @Test
  void saysAllAtOnce() {
    assertThatThrownBy(
            () -> WorldSettings.from(Map.of("RANK", "x", "WORLD_SIZE", "y", "LOCAL_RANK", "0")))
        .hasMessageContainingAll("MASTER_ADDR, MASTER_PORT", "RANK is 'x'", "WORLD_SIZE is 'y'");
  }

  @Test
  void knowsWhoHoldsTheMeetingPlaceAndWhoStartedIt() {
    Map<String, String> environment = new HashMap<>(GOOD);
    environment.put("TORCHELASTIC_USE_AGENT_STORE", "True");
    environment.put("TORCHELASTIC_RESTART_COUNT", "3");
    environment.put("LLARA_LAUNCHER", "4711");
    environment.put("LLARA_STORE", "/tmp/store");
    WorldSettings world = WorldSettings.from(environment).orElseThrow();
    assertThat(world.agentAttempt()).isEqualTo(OptionalInt.of(3));
    assertThat(world.launcher())
        .contains(new WorldSettings.Launcher(4711, Optional.of(Path.of("/tmp/store"))));

    environment.put("TORCHELASTIC_USE_AGENT_STORE", "False");
    assertThat(WorldSettings.from(environment).orElseThrow().agentAttempt()).isEmpty();
  }

  @Test
  void argumentsAreChecked() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new WorldSettings(2, 2, 0, " ", 1))
        .withMessageContaining("RANK is 2")
        .withMessageContaining("MASTER_ADDR is blank");
  }
}
