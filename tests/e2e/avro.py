"""Reads one Avro value by its schema, as the specification says and with nothing of freshet's: the partner that lists are
read back with."""
import struct


class Reader:
    def __init__(self, data):
        self.data, self.at, self.names = data, 0, {}

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise ValueError(f"{n} bytes wanted at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n:self.at]

    def long(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return (value >> 1) ^ -(value & 1)

    def blocks(self, one):
        """An array or map: blocks of items until an empty one; a negative count is followed by the block's bytes."""
        found = []
        while count := self.long():
            if count < 0:
                self.long()
            found += [one() for _ in range(abs(count))]
        return found

    def value(self, schema):
        if isinstance(schema, list):
            return self.value(schema[self.long()])
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, (dict, list)):
            return self.value(kind)
        if isinstance(schema, dict) and "name" in schema:
            self.names[schema["name"]] = schema
            self.names[f"{schema.get('namespace', '')}.{schema['name']}"] = schema
        if kind == "record":
            return {field["name"]: self.value(field["type"]) for field in schema["fields"]}
        if kind == "enum":
            return schema["symbols"][self.long()]
        if kind == "array":
            return self.blocks(lambda: self.value(schema["items"]))
        if kind == "map":
            return dict(self.blocks(lambda: (self.value("string"), self.value(schema["values"]))))
        if kind == "fixed":
            return self.take(schema["size"])
        return self.primitive(kind)

    def primitive(self, kind):
        if kind == "null":
            return None
        if kind == "boolean":
            return self.take(1) == b"\1"
        if kind in ("int", "long"):
            return self.long()
        if kind == "float":
            return struct.unpack("<f", self.take(4))[0]
        if kind == "double":
            return struct.unpack("<d", self.take(8))[0]
        if kind == "bytes":
            return self.take(self.long())
        if kind == "string":
            return self.take(self.long()).decode()
        return self.value(self.names[kind])


def decode(schema, data):
    """The value; ValueError unless it takes all the bytes."""
    reader = Reader(data)
    value = reader.value(schema)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes are left over")
    return value
