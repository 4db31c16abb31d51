package io.llara.spark;

import io.llara.Encoder;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerApplicationEnd;
import org.jspecify.annotations.Nullable;

/**
 * The encoders of this process, which all tasks of an executor share: one for each kind of
 * settings, opened by the first task that needs it.
 *
 * <p>They are closed when the process ends; an executor does when its application is over or it has
 * been idle for long. With a master {@code local} the executor is the driver's process, which may
 * go on: there they are closed when the Spark context stops, each as the last task leaves it.
 */
final class ExecutorEncoders {
  /** Guards both maps and the fields of what they hold. */
  private static final Object LOCK = new Object();

  private static final Map<EncoderSettings, Shared> OPEN = new HashMap<>();

  /** Those whose Spark context stopped while tasks still held them. */
  private static final Set<Shared> RETIRED = new HashSet<>();

  /** Contexts of local masters whose end is listened to, by application. */
  private static final Set<String> WATCHED = new HashSet<>();

  private static boolean hooked;

  private ExecutorEncoders() {}

  /** An encoder and how many tasks hold it. */
  private static final class Shared {
    private final EncoderSettings settings;
    private @Nullable Encoder encoder;
    private int leases;
    private boolean retired;

    Shared(EncoderSettings settings) {
      this.settings = settings;
    }

    /** Opens it; other tasks wait for the one that does, and one of them tries if it failed. */
    synchronized Encoder encoder() {
      if (encoder == null) {
        encoder = settings.open();
      }
      return encoder;
    }

    synchronized void close() {
      if (encoder != null) {
        encoder.close();
      }
    }
  }

  /** A task's hold on an encoder. */
  static final class Lease implements AutoCloseable {
    private final Shared shared;
    private final Encoder encoder;
    private boolean closed;

    private Lease(Shared shared) {
      this.shared = shared;
      this.encoder = shared.encoder();
    }

    Encoder encoder() {
      return encoder;
    }

    /** Gives it back. Harmless when repeated. */
    @Override
    public void close() {
      synchronized (LOCK) {
        if (closed) {
          return;
        }
        closed = true;
      }
      release(shared);
    }
  }

  /** Returns a hold on the encoder of these settings, which is opened if it is not. */
  static Lease acquire(EncoderSettings settings) {
    Shared shared;
    synchronized (LOCK) {
      if (!hooked) {
        Runtime.getRuntime().addShutdownHook(new Thread(ExecutorEncoders::closeNow, "llara-spark"));
        hooked = true;
      }
      shared = OPEN.computeIfAbsent(settings, Shared::new);
      shared.leases++;
    }
    try {
      return new Lease(shared);
    } catch (RuntimeException | Error e) {
      release(shared);
      throw e;
    }
  }

  private static void release(Shared shared) {
    synchronized (LOCK) {
      shared.leases--;
      if (!shared.retired || shared.leases > 0) {
        return;
      }
      RETIRED.remove(shared);
    }
    shared.close();
  }

  /** Closes the encoders of this process when a context of a local master stops. */
  static void closeWith(SparkContext context) {
    synchronized (LOCK) {
      if (!context.isLocal() || !WATCHED.add(context.applicationId())) {
        return;
      }
    }
    context.addSparkListener(
        new SparkListener() {
          @Override
          public void onApplicationEnd(SparkListenerApplicationEnd end) {
            retire(context.applicationId());
          }
        });
  }

  private static void retire(String application) {
    Set<Shared> idle = new HashSet<>();
    synchronized (LOCK) {
      WATCHED.remove(application);
      for (Shared shared : OPEN.values()) {
        shared.retired = true;
        (shared.leases == 0 ? idle : RETIRED).add(shared);
      }
      OPEN.clear();
    }
    idle.forEach(Shared::close);
  }

  /** The process ends: calls under way end with an error. */
  private static void closeNow() {
    Set<Shared> all;
    synchronized (LOCK) {
      all = new HashSet<>(OPEN.values());
      all.addAll(RETIRED);
    }
    all.forEach(Shared::close);
  }

  /** Returns how many encoders are open, held or not. */
  static int open() {
    synchronized (LOCK) {
      return OPEN.size() + RETIRED.size();
    }
  }
}
