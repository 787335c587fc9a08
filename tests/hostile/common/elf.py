"""Edits the section headers of an ELF file (64 bits, little-endian) and keeps its build id, so the
kernel runs it as before."""

import _struct

HEADER = "<IIQQQQIIQQ"
NAMES = ["name", "type", "flags", "addr", "offset", "size", "link", "info", "addralign", "entsize"]
SYMTAB, STRTAB = 2, 3
COMPRESSED = 0x800
SYMBOL_BYTES = 24


class Elf:
    def __init__(self, data):
        self.data = bytearray(data)

    def number(self, form, at):
        return _struct.unpack_from("<" + form, self.data, at)[0]

    def put(self, form, at, value):
        _struct.pack_into("<" + form, self.data, at, value)

    def headers_at(self):
        return self.number("Q", 0x28)

    def header_at(self, index):
        return self.headers_at() + 64 * index

    def section(self, index):
        values = _struct.unpack_from(HEADER, self.data, self.header_at(index))
        return dict(zip(NAMES, values))

    def set_section(self, index, **changes):
        values = self.section(index) | changes
        _struct.pack_into(HEADER, self.data, self.header_at(index), *[values[it] for it in NAMES])

    def index_of(self, kind):
        count = self.number("H", 0x3C)
        return next(it for it in range(count) if self.section(it)["type"] == kind)

    def symbols(self):
        """The index of the section with the symbols, and that of their names."""
        symtab = self.index_of(SYMTAB)
        return symtab, self.section(symtab)["link"]

    def append(self, content):
        """Adds bytes at the end of the file, and returns their offset."""
        offset = len(self.data)
        self.data += content
        return offset

    def rename(self, old, new):
        """Gives a function another name, of any length."""
        symtab, strtab = self.symbols()
        names = self.section(strtab)
        text = bytes(self.data[names["offset"] : names["offset"] + names["size"]])
        place = text.index(b"\0" + old + b"\0") + 1
        offset = self.append(text + new + b"\0")
        self.set_section(strtab, offset=offset, size=len(text) + len(new) + 1)
        symbols = self.section(symtab)
        for at in range(symbols["offset"], symbols["offset"] + symbols["size"], SYMBOL_BYTES):
            if self.number("I", at) == place:
                self.put("I", at, len(text))
