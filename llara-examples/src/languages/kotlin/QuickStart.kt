package io.llara.examples.kotlin

import io.llara.Encoder
import io.llara.Mode
import io.llara.Similarity
import java.nio.file.Path

/** Argument: a model directory; without one the default model is used. */
fun main(args: Array<String>) {
    val passages = listOf(
        "The llama is a domesticated South American camelid.",
        "A lighthouse warns ships of rocks and shallows.",
    )
    val opened = args.firstOrNull()?.let { Encoder.load(Path.of(it)) } ?: Encoder.loadDefault()
    opened.use { encoder ->
        val query = encoder.encodeQuery("What is a llama?")
        passages.zip(encoder.encodeAll(passages, Mode.SELF)).forEach { (passage, embedding) ->
            println("%.4f  %s".format(Similarity.cosine(query, embedding), passage))
        }
    }
}
