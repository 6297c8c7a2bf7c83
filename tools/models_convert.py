"""Converts models for the server's runtime; run by tools/models in its own venv.

Moonshine: the package holds ONNX Runtime's own format with fused operators. The server's runtime reads plain ONNX, so the graphs are saved as
ONNX, each fused operator is written out in standard ones, the decoder's cross-attention becomes an output (word times are read off
it), and padding that only cost time is taken out. Numbers do not change but for rounding.

MiniLM: its weights are bytes with a scale for each row. The runtime makes floats of them when it loads, which is what the layers want, but
of the table of 30 000 words only a few rows are ever read: rows are picked first and scaled then, which saves 47 MB of memory.

usage: models_convert.py moonshine ENCODER.ort DECODER.ort ENCODER.onnx DECODER.onnx
       models_convert.py minilm MODEL.onnx CONVERTED.onnx
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FUSED = "com.microsoft"


def subgraphs(node):
    return [a.g for a in node.attribute if a.HasField("g")]


def plain_onnx(source, folder):
    """Saves an .ort model as ONNX, as it is."""
    target = Path(folder) / (source.stem + ".onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ONNX")
    onnxruntime.InferenceSession(str(source), options)
    return onnx.load(str(target))


class Unfuse:
    """Writes the fused operators of a graph out in standard ones."""

    def __init__(self):
        self.count = 0
        self.nodes = []

    def name(self, hint):
        self.count += 1
        return f"unfused_{hint}_{self.count}"

    def constant(self, value):
        name = self.name("constant")
        tensor = numpy_helper.from_array(np.asarray(value), name)
        self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def add(self, operator, inputs, output=None, **attributes):
        output = output or self.name(operator)
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def graph(self, graph):
        graph.name = graph.name or self.name("graph")
        for node in graph.node:
            for inner in subgraphs(node):
                outer, self.nodes = self.nodes, []
                self.graph(inner)
                self.nodes = outer
        outer, self.nodes = self.nodes, []
        for node in graph.node:
            if node.domain == FUSED:
                getattr(self, node.op_type)(node, list(node.input) + [""] * 8, attributes(node))
            else:
                self.nodes.append(node)
        del graph.node[:]
        graph.node.extend(self.nodes)
        self.nodes = outer

    def scaled(self, product, scale, bias, output):
        """An integer product as float: scaled, and with its bias if it has one."""
        product = self.add("Cast", [product], to=TensorProto.FLOAT)
        if bias:
            self.add("Add", [self.add("Mul", [product, scale]), bias], output)
        else:
            self.add("Mul", [product, scale], output)

    def FusedConv(self, node, _, attrs):
        activation = attrs.pop("activation").decode()
        attrs.pop("activation_params", None)
        attrs = {k: v.decode() if isinstance(v, bytes) else v for k, v in attrs.items()}
        self.add(activation, [self.add("Conv", list(node.input), **attrs)], node.output[0])

    def Gelu(self, node, inputs, _):
        bent = self.add("Erf", [self.add("Div", [inputs[0], self.constant(np.float32(math.sqrt(2)))])])
        bent = self.add("Add", [bent, self.constant(np.float32(1))])
        half = self.constant(np.float32(0.5))
        self.add("Mul", [self.add("Mul", [inputs[0], bent]), half], node.output[0])

    def QuickGelu(self, node, inputs, attrs):
        alpha = self.constant(np.float32(attrs.get("alpha", 1.702)))
        gate = self.add("Sigmoid", [self.add("Mul", [inputs[0], alpha])])
        self.add("Mul", [inputs[0], gate], node.output[0])

    def DynamicQuantizeMatMul(self, node, inputs, _):
        quantized, scale, zero = self.name("q"), self.name("s"), self.name("z")
        self.nodes.append(helper.make_node("DynamicQuantizeLinear", [inputs[0]], [quantized, scale, zero]))
        product = self.add("MatMulInteger", [quantized, inputs[1], zero] + ([inputs[3]] if inputs[3] else []))
        self.scaled(product, self.add("Mul", [scale, inputs[2]]), inputs[4], node.output[0])

    def MatMulIntegerToFloat(self, node, inputs, _):
        zeros = [inputs[4], inputs[5]] if inputs[5] else ([inputs[4]] if inputs[4] else [])
        product = self.add("MatMulInteger", [inputs[0], inputs[1]] + zeros)
        self.scaled(product, self.add("Mul", [inputs[2], inputs[3]]), inputs[6], node.output[0])

    def SkipLayerNormalization(self, node, inputs, attrs):
        kept = node.output[3] if len(node.output) > 3 and node.output[3] else self.name("skip")
        total = self.add("Add", [inputs[0], inputs[1]], None if inputs[4] else kept)
        if inputs[4]:
            self.add("Add", [total, inputs[4]], kept)
        norm = [kept, inputs[2]] + ([inputs[3]] if inputs[3] else [])
        self.add("LayerNormalization", norm, node.output[0], axis=-1, epsilon=attrs.get("epsilon", 1e-5))

    def FusedMatMul(self, node, inputs, attrs):
        assert not attrs.get("transBatchA") and not attrs.get("transBatchB"), "batch transposes are not expected"
        a, b = inputs[0], inputs[1]
        if attrs.get("transA"):
            a = self.add("Transpose", [a], perm=[0, 1, 3, 2])
        if attrs.get("transB"):
            b = self.add("Transpose", [b], perm=[0, 1, 3, 2])
        alpha = self.constant(np.float32(attrs.get("alpha", 1.0)))
        self.add("Mul", [self.add("MatMul", [a, b]), alpha], node.output[0])


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def expose_attention(model):
    """Makes the softmax of each cross-attention layer an output of the decoder, in both of its branches."""
    branch = next(n for n in model.graph.node if n.op_type == "If")
    count = 0
    for graph in subgraphs(branch):
        layers = [n for n in graph.node if n.op_type == "Softmax" and "encoder_attn" in n.name]
        for node in layers:
            graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None))
        count = len(layers)
    assert count > 0, "the decoder has no cross-attention"
    for i in range(count):
        branch.output.append(f"xattn.{i}")
        model.graph.output.append(helper.make_tensor_value_info(f"xattn.{i}", TensorProto.FLOAT, None))


def strip_padding(graph):
    """Attention pads every query, key and value with zeros and slices them off again: both are left out."""
    made = {output: node for node in graph.node for output in node.output}

    def is_idle(node):
        if "_attn" not in node.output[0]:
            return False
        if node.op_type != "Slice":
            return node.op_type == "Pad"
        turned = made.get(node.input[0])
        product = made.get(turned.input[0]) if turned is not None and turned.op_type == "Transpose" else None
        return product is not None and product.op_type == "MatMul"

    gone = {n.output[0]: n.input[0] for n in graph.node if n.output and is_idle(n)}
    kept = [n for n in graph.node if not n.output or n.output[0] not in gone]
    for node in kept:
        for i, name in enumerate(node.input):
            node.input[i] = gone.get(name, name)
        for inner in subgraphs(node):
            strip_padding(inner)
    del graph.node[:]
    graph.node.extend(kept)


def convert(source, target, is_decoder):
    with tempfile.TemporaryDirectory() as folder:
        model = plain_onnx(Path(source), folder)
    Unfuse().graph(model.graph)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 18))
    if is_decoder:
        expose_attention(model)
    strip_padding(model.graph)
    onnx.save(model, target)


def pick_rows_first(source, target):
    """Turns Gather(scale * float(table)) into Gather(scale) * float(Gather(table)), wherever rows of a table of bytes are picked."""
    model = onnx.load(source)
    graph = model.graph
    made = {output: node for node in graph.node for output in node.output}
    nodes, idle = [], set()
    for node in graph.node:
        product = made.get(node.input[0]) if node.op_type == "Gather" else None
        cast = made.get(product.input[0]) if product is not None and product.op_type == "Mul" else None
        if cast is None or cast.op_type != "Cast":
            nodes.append(node)
            continue
        rows, scales, out = cast.input[0], product.input[1], node.output[0]
        nodes.append(helper.make_node("Gather", [rows, node.input[1]], [out + "_rows"], axis=0))
        nodes.append(helper.make_node("Cast", [out + "_rows"], [out + "_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Gather", [scales, node.input[1]], [out + "_scales"], axis=0))
        nodes.append(helper.make_node("Mul", [out + "_float", out + "_scales"], [out]))
        idle |= {cast.output[0], product.output[0]}
    assert idle, "the model picks no rows of bytes"
    del graph.node[:]
    graph.node.extend(n for n in nodes if n.output[0] not in idle)
    onnx.checker.check_model(model)
    onnx.save(model, target)


if __name__ == "__main__":
    which, *files = sys.argv[1:]
    if which == "moonshine":
        encoder, decoder, encoder_out, decoder_out = files
        convert(encoder, encoder_out, False)
        convert(decoder, decoder_out, True)
    else:
        pick_rows_first(*files)
