"""Files on disk that can be relied on, whoever wrote them and whatever happened meanwhile.

Four ideas, one module each: files and folders that appear whole or not at all (`atomic`), files that are looked at
before they are loaded, because anybody may have made them (`untrusted`), pickles that are read without being executed
(`plain_pickle`), and the lock that lets one writer at a time into a folder (`locks`). Bytes, NumPy arrays and JSON
values enter and leave; what they mean is their owner's business.

This package imports `tfvlad.errors` and `tfvlad.printable` only.
"""
