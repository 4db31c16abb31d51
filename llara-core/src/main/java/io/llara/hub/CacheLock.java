package io.llara.hub;

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Platform;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Set;

/**
 * A lock that the hub's Python client takes as well, on a file that stays. The client uses {@code
 * flock}, of which the JDK's own file locks know nothing except on Windows; it is called through
 * the library that the tokenizer brings with it. Threads exclude each other too.
 */
final class CacheLock implements AutoCloseable {
  private static final int READ_WRITE = 2;
  private static final int EXCLUSIVE_OR_FAIL = 2 | 4;

  /** The errors of Linux and of macOS for a lock that another has, and for an interrupted call. */
  private static final Set<Integer> HELD = Set.of(11, 35, 4);

  private static final long POLL_MILLISECONDS = 100;

  /** Open files of the process and their locks, in C. */
  private interface LibC extends Library {
    int open(String path, int flags);

    int flock(int file, int operation);

    int close(int file);
  }

  /** Loaded when it is first needed. */
  private static final class Loaded {
    static final LibC LIBRARY = Native.load("c", LibC.class);
  }

  private final AutoCloseable held;

  private CacheLock(AutoCloseable held) {
    this.held = held;
  }

  /** Waits for a lock. */
  static CacheLock acquire(Path file) throws IOException, InterruptedException {
    Files.createDirectories(file.resolveSibling(""));
    if (Files.notExists(file)) {
      FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE).close();
    }
    return new CacheLock(Platform.isWindows() ? onWindows(file) : byFlock(file));
  }

  private static AutoCloseable byFlock(Path file) throws IOException, InterruptedException {
    LibC c = Loaded.LIBRARY;
    int descriptor = c.open(file.toString(), READ_WRITE);
    if (descriptor < 0) {
      throw new IOException(file + ": cannot be opened to be locked");
    }
    try {
      while (c.flock(descriptor, EXCLUSIVE_OR_FAIL) != 0 && HELD.contains(Native.getLastError())) {
        Thread.sleep(POLL_MILLISECONDS);
      }
      // Otherwise the file system has no such locks: files are checked before they get their names.
    } catch (InterruptedException e) {
      c.close(descriptor);
      throw e;
    }
    // Closing ends the lock.
    return () -> c.close(descriptor);
  }

  private static AutoCloseable onWindows(Path file) throws IOException, InterruptedException {
    FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
    try {
      while (true) {
        try {
          // The one byte that the client locks.
          if (channel.tryLock(0, 1, false) != null) {
            return channel;
          }
        } catch (OverlappingFileLockException e) {
          // Held by another thread.
        }
        Thread.sleep(POLL_MILLISECONDS);
      }
    } catch (IOException | InterruptedException e) {
      channel.close();
      throw e;
    }
  }

  @Override
  public void close() throws IOException {
    try {
      held.close();
    } catch (IOException e) {
      throw e;
    } catch (Exception e) {
      throw new IOException(e);
    }
  }
}
