package io.llara.retrieval;

import java.io.IOException;
import org.apache.lucene.codecs.KnnVectorsFormat;
import org.apache.lucene.codecs.KnnVectorsReader;
import org.apache.lucene.codecs.KnnVectorsWriter;
import org.apache.lucene.codecs.lucene99.Lucene99HnswVectorsFormat;
import org.apache.lucene.index.SegmentReadState;
import org.apache.lucene.index.SegmentWriteState;

/**
 * Lucene's graphs for vectors of more dimensions. Lucene refuses more than 1,024 when it writes;
 * the files are the same, and so is the name that they bear: any Lucene of this version reads them.
 */
final class WideHnswFormat extends KnnVectorsFormat {
  /** The most dimensions. */
  static final int MOST_DIMENSIONS = 8192;

  private final Lucene99HnswVectorsFormat format;

  WideHnswFormat(HnswOptions options) {
    this(new Lucene99HnswVectorsFormat(options.maxConnections(), options.efConstruction()));
  }

  private WideHnswFormat(Lucene99HnswVectorsFormat format) {
    super(format.getName());
    this.format = format;
  }

  @Override
  public KnnVectorsWriter fieldsWriter(SegmentWriteState state) throws IOException {
    return format.fieldsWriter(state);
  }

  @Override
  public KnnVectorsReader fieldsReader(SegmentReadState state) throws IOException {
    return format.fieldsReader(state);
  }

  @Override
  public int getMaxDimensions(String fieldName) {
    return MOST_DIMENSIONS;
  }
}
