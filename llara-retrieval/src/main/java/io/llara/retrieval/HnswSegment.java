package io.llara.retrieval;

import io.llara.LlaraException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.PrimitiveIterator;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.util.hnsw.HnswGraph;
import org.apache.lucene.util.hnsw.NeighborArray;
import org.apache.lucene.util.hnsw.OnHeapHnswGraph;
import org.bytedeco.javacpp.BytePointer;

/**
 * The graph over some of the vectors of a file, in a file of its own, mapped into memory: for each
 * level the nodes, and for each node its neighbours. A node is a vector, counted from the first of
 * the segment. The format is in docs/vector-files.md. Thread-safe.
 */
final class HnswSegment implements AutoCloseable {
  private static final String MAGIC = "LLARAHNS";
  private static final int VERSION = 1;
  private static final int BLOCK_BYTES = 1 << 16;
  private static final int DIGEST_LENGTH = 32;

  private final BlockFile file;
  private final Header header;
  private final IntBuffer ints;

  /** For each level where its nodes are listed, from level 1 on. */
  private final List<Level> levels = new ArrayList<>();

  /**
   * What is in the file.
   *
   * @param vectors the {@link StoredVectors#digest} of the vectors
   * @param first the first vector of the segment
   * @param rows how many vectors it has
   * @param levels how many levels the graph has
   * @param entry the node that a search begins with
   */
  private record Header(
      byte[] vectors, long first, int rows, HnswOptions options, int levels, int entry) {

    byte[] toBytes() {
      ByteBuffer content = BlockFile.littleEndian(BlockFile.CONTENT_LENGTH);
      content.put(vectors).putLong(first).putInt(rows);
      content.putInt(options.maxConnections()).putInt(options.efConstruction());
      content.putInt(levels).putInt(entry);
      return content.array();
    }

    static Header of(byte[] content, int efSearch) throws IOException {
      ByteBuffer bytes = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
      byte[] vectors = new byte[DIGEST_LENGTH];
      bytes.get(vectors);
      long first = bytes.getLong();
      int rows = bytes.getInt();
      int connections = bytes.getInt();
      int candidates = bytes.getInt();
      int levels = bytes.getInt();
      int entry = bytes.getInt();
      if (rows < 1 || levels < 1 || entry < 0 || entry >= rows) {
        throw new IOException(
            "its graph has %d nodes on %d levels, and begins with node %d; that cannot be"
                .formatted(rows, levels, entry));
      }
      try {
        HnswOptions options = new HnswOptions(connections, candidates, efSearch);
        return new Header(vectors, first, rows, options, levels, entry);
      } catch (IllegalArgumentException e) {
        throw new IOException(e.getMessage(), e);
      }
    }

    /** Returns how many numbers there are for a node: how many neighbours, and room for them. */
    int stride(int level) {
      return 1 + (level == 0 ? 2 : 1) * options.maxConnections();
    }
  }

  /** The nodes of a level lie from a place on, sorted; then their neighbours. */
  private record Level(int nodes, int at) {}

  private HnswSegment(BlockFile file, Header header) throws IOException {
    this.file = file;
    this.header = header;
    long length = file.header().length();
    this.ints =
        new BytePointer(file.at(0))
            .capacity(length)
            .asByteBuffer()
            .order(ByteOrder.LITTLE_ENDIAN)
            .asIntBuffer();
    long at = (long) header.rows() * header.stride(0);
    for (int level = 1; level < header.levels() && at < ints.capacity(); level++) {
      int nodes = number((int) at);
      levels.add(new Level(nodes, (int) at + 1));
      at += 1 + (long) nodes * (1 + header.stride(level));
    }
    if (at != ints.capacity() || levels.size() != header.levels() - 1) {
      throw new IOException("its levels do not fit into %d bytes".formatted(length));
    }
  }

  /**
   * Opens a segment.
   *
   * @param first the vector that it should begin with
   * @throws IOException if it cannot be read, or is none of these vectors and options
   */
  static HnswSegment open(Path path, StoredVectors vectors, HnswOptions options, long first)
      throws IOException {
    BlockFile file = BlockFile.open(path, MAGIC, VERSION);
    try {
      Header header = Header.of(file.header().content(), options.efSearch());
      if (!Arrays.equals(header.vectors(), vectors.digest())) {
        throw new IOException("it is a graph of other vectors than those of " + vectors.file());
      }
      if (!header.options().equals(options)) {
        throw new IOException(
            "it was built with %s; expected %s".formatted(header.options(), options));
      }
      if (header.first() != first || first + header.rows() > vectors.count()) {
        throw new IOException(
            "it begins with vector %d and has %d of %d; expected one that begins with %d"
                .formatted(header.first(), header.rows(), vectors.count(), first));
      }
      return file.reading(
          () -> {
            try {
              return new HnswSegment(file, header);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      file.close();
      throw e.getCause();
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /** Writes a graph over the vectors from one on. */
  static void write(
      Path path, StoredVectors vectors, HnswOptions options, long first, OnHeapHnswGraph graph)
      throws IOException {
    Header header =
        new Header(
            vectors.digest(), first, graph.size(), options, graph.numLevels(), graph.entryNode());
    int[][] nodes = new int[header.levels()][];
    long length = (long) header.rows() * header.stride(0);
    for (int level = 1; level < header.levels(); level++) {
      nodes[level] = sorted(graph.getNodesOnLevel(level));
      length += 1 + (long) nodes[level].length * (1 + header.stride(level));
    }
    BlockFile.Header blocks =
        new BlockFile.Header(MAGIC, VERSION, BLOCK_BYTES, length * Integer.BYTES, header.toBytes());
    try (BlockFile.Writer writer = new BlockFile.Writer(path, blocks)) {
      Numbers numbers = new Numbers(writer);
      for (int node = 0; node < header.rows(); node++) {
        numbers.put(graph.getNeighbors(0, node), header.stride(0));
      }
      for (int level = 1; level < header.levels(); level++) {
        numbers.put(nodes[level].length);
        for (int node : nodes[level]) {
          numbers.put(node);
        }
        for (int node : nodes[level]) {
          numbers.put(graph.getNeighbors(level, node), header.stride(level));
        }
      }
      numbers.end();
      writer.commit();
    }
  }

  private static int[] sorted(PrimitiveIterator.OfInt nodes) {
    int[] all = new int[16];
    int count = 0;
    while (nodes.hasNext()) {
      if (count == all.length) {
        all = Arrays.copyOf(all, 2 * count);
      }
      all[count++] = nodes.nextInt();
    }
    int[] sorted = Arrays.copyOf(all, count);
    Arrays.sort(sorted);
    return sorted;
  }

  /** Numbers on their way into blocks. */
  private static final class Numbers {
    private final BlockFile.Writer writer;
    private final ByteBuffer block = BlockFile.littleEndian(BLOCK_BYTES);

    Numbers(BlockFile.Writer writer) {
      this.writer = writer;
    }

    void put(int number) throws IOException {
      block.putInt(number);
      if (!block.hasRemaining()) {
        end();
      }
    }

    void put(NeighborArray neighbours, int stride) throws IOException {
      put(neighbours.size());
      for (int i = 0; i < stride - 1; i++) {
        put(i < neighbours.size() ? neighbours.nodes()[i] : -1);
      }
    }

    void end() throws IOException {
      if (block.position() > 0) {
        writer.write(block.array());
        block.clear();
      }
    }
  }

  long first() {
    return header.first();
  }

  int rows() {
    return header.rows();
  }

  private int number(int at) {
    file.check((long) at * Integer.BYTES, Integer.BYTES);
    return ints.get(at);
  }

  /** Something that is done while the file stays mapped. */
  interface Reading<T> {
    T read(HnswGraph graph);
  }

  /**
   * Reads the graph, for one thread.
   *
   * @throws IllegalStateException if the segment is closed
   */
  <T> T reading(Reading<T> reading) {
    return file.reading(() -> reading.read(new Graph()));
  }

  @Override
  public void close() {
    file.close();
  }

  /** The graph, at one of its nodes. */
  private final class Graph extends HnswGraph {
    private int next;
    private int end;

    @Override
    public void seek(int level, int target) {
      int stride = header.stride(level);
      int at = target * stride;
      if (level > 0) {
        Level nodes = levels.get(level - 1);
        at = nodes.at() + nodes.nodes() + place(nodes, target) * stride;
      }
      file.check((long) at * Integer.BYTES, (long) stride * Integer.BYTES);
      int count = ints.get(at);
      if (count < 0 || count >= stride) {
        throw damaged("node %d has %d neighbours".formatted(target, count));
      }
      next = at + 1;
      end = next + count;
    }

    /** Finds a node of a level, and its place among them. */
    private int place(Level level, int node) {
      int low = 0;
      int high = level.nodes() - 1;
      while (low <= high) {
        int middle = low + high >>> 1;
        int found = number(level.at() + middle);
        if (found == node) {
          return middle;
        }
        if (found < node) {
          low = middle + 1;
        } else {
          high = middle - 1;
        }
      }
      throw damaged("node %d is not on its level".formatted(node));
    }

    @Override
    public int nextNeighbor() {
      if (next == end) {
        return DocIdSetIterator.NO_MORE_DOCS;
      }
      int neighbour = ints.get(next++);
      if (neighbour < 0 || neighbour >= header.rows()) {
        throw damaged("there is a neighbour %d of %d".formatted(neighbour, header.rows()));
      }
      return neighbour;
    }

    private LlaraException damaged(String what) {
      return new LlaraException("%s: is damaged: %s".formatted(file.path(), what));
    }

    @Override
    public int size() {
      return header.rows();
    }

    @Override
    public int numLevels() {
      return header.levels();
    }

    @Override
    public int entryNode() {
      return header.entry();
    }

    @Override
    public NodesIterator getNodesOnLevel(int level) {
      if (level == 0) {
        return new ArrayNodesIterator(header.rows());
      }
      Level nodes = levels.get(level - 1);
      int[] all = new int[nodes.nodes()];
      for (int i = 0; i < all.length; i++) {
        all[i] = number(nodes.at() + i);
      }
      return new ArrayNodesIterator(all, all.length);
    }
  }
}
