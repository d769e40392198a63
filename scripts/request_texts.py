"""What the recorded requests say and show: texts in many languages, small images, a sound and a document."""

from __future__ import annotations

import base64
import struct
import zlib

ENGLISH = (
    "Our warehouse in the north ships about nine hundred parcels a day, most of them before noon. Last "
    "spring we "
    "changed the way the shelves are sorted, so that what sells together also lies together. Walking "
    "distances "
    "became shorter, and fewer things were put into the wrong box. In summer, however, the new order made it "
    "harder to count what was left, because the same article could be found in several places. Please "
    "explain, "
    "in a friendly tone and without technical terms, how a small team could keep the advantage and still "
    "know "
    "its stock at the end of every week."
)

TEXTS = {
    "english": ENGLISH,
    "english-letter": (
        "Dear neighbours, the garden behind our houses is looking wonderful again, and that is your work. "
        "On the "
        "first Saturday of next month we would like to plant the new apple trees together. Bring gloves "
        "and good "
        "shoes if you have them; tools and warm soup will be there for everybody. Children are welcome, "
        "and so "
        "are dogs that do not dig. If it rains, we shall meet under the big roof and wait for the sun."
    ),
    "german": (
        "Die Lieferung für den Herbst verspätet sich um zwei Wochen, weil im Hafen nur jeder zweite Kran "
        "arbeitet. "
        "Bitte schreiben Sie unseren Kundinnen und Kunden eine kurze, ehrliche Nachricht: was geschehen "
        "ist, wann "
        "sie mit der Ware rechnen dürfen und wie sie eine Bestellung gebührenfrei stornieren können."
    ),
    "chinese": "请把下面的会议记录整理成三段：先写结论，再写每个人的任务，最后列出还没有解决的问题。"
    "语气要客气，不要使用缩写。"
    "上周我们讨论了新仓库的预算、运输时间和员工培训，大家同意在十月之前完成第一阶段。",
    "japanese": "来月の社内勉強会について案内文を作成してください。日時は金曜日の午後三時、"
    "場所は本社の大会議室です。"
    "初めて参加する人にもわかりやすいように、内容と持ち物を箇条書きで書いてください。",
    "arabic": "اكتب رسالة قصيرة إلى العملاء نشرح فيها سبب تأخر الشحنات هذا الأسبوع، ونعتذر بلطف، "
    "ونخبرهم بموعد الوصول الجديد وبأن رسوم التوصيل ستعاد إليهم.",
    "russian": "Составь план поездки на три дня для семьи с двумя детьми: музеи утром, прогулки днём, а "
    "вечером "
    "что-нибудь спокойное. Учитывай, что пожилая бабушка не любит долго стоять в очереди.",
    "hindi": "कृपया नीचे दिए गए अनुच्छेद का सरल भाषा में सार लिखिए और अंत में तीन प्रश्न पूछिए जिनका उत्तर पाठक दे सके।",
    "code": (
        "def merge(left: list[int], right: list[int]) -> list[int]:\n    merged = []\n    while left and "
        "right:\n"
        "        source = left if left[0] <= right[0] else right\n        merged.append(source.pop(0))\n"
        "    return merged + left + right\n\n\nassert merge([1, 4, 9], [2, 3, 10]) == [1, 2, 3, 4, 9, 10]\n"
    ),
    "json": (
        '{"order": "A-20934", "customer": {"id": 48213, "country": "NO"}, "paid": true, "lines": ['
        '{"sku": "LMP-7", "quantity": 3, "unit_price": 1299}, '
        '{"sku": "CBL-22", "quantity": 10, "unit_price": 249}]}'
    ),
    "numbers": "\n".join(
        f"{day:02};{day * 7919 % 10_000};{day * 104_729 % 100_000};{day * 31}" for day in range(1, 31)
    ),
    "emoji": "Team lunch 🍜 on Friday? 🎉🎉 Vote with 👍 or 👎, vegetarians 🥦 please raise a hand 🙋🏽‍♀️!",
    "short": "What is the capital of Norway?",
}
"""By name. All of them were written for this."""

TEXTS["english-long"] = "\n\n".join(
    f"Part {number}. {TEXTS['english']} {TEXTS['english-letter']}"
    for number in ("one", "two", "three", "four")
)

PROSE = ("english", "english-letter", "english-long", "short")
"""Plain English: here the rules of thumb hold, and a bound should be close to them."""


def encoded(raw: bytes) -> str:
    """In base64, as text."""
    return base64.b64encode(raw).decode()


def png(width: int, height: int) -> bytes:
    """A gray image of that size, in pixels."""
    rows = (b"\0" + b"\x80" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jpeg(width: int, height: int) -> bytes:
    """A gray image of that size, in pixels: two bits a block, the shortest that Huffman's code can say."""
    blocks = -(-width // 8) * -(-height // 8)
    bits = 2 * blocks
    scan = bytearray(-(-bits // 8))
    if bits % 8:
        scan[-1] = 0xFF >> bits % 8
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    one_code = bytes([1] + [0] * 15 + [0])
    segments = (
        (0xDB, b"\0" + b"\x10" * 64),
        (0xC0, frame),
        (0xC4, b"\x00" + one_code),
        (0xC4, b"\x10" + one_code),
        (0xDA, bytes([1, 1, 0, 0, 63, 0])),
    )
    body = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments
    )
    return b"\xff\xd8" + body + bytes(scan) + b"\xff\xd9"


def wav(seconds: int) -> bytes:
    """A saw tooth: 8 kHz, 8 bits, one channel."""
    samples = bytes(sample % 80 for sample in range(8_000 * seconds))
    head = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
    content = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(content)) + content


def pdf(pages: int) -> bytes:
    """Empty pages."""
    kids = " ".join(f"{number + 3} 0 R" for number in range(pages))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} /MediaBox [0 0 595 842] >>",
        *("<< /Type /Page /Parent 2 0 R >>" for _ in range(pages)),
    ]
    body = "".join(f"{number} 0 obj {text} endobj\n" for number, text in enumerate(objects, 1))
    return f"%PDF-1.7\n{body}trailer << /Root 1 0 R /Size {len(objects) + 1} >>\n%%EOF\n".encode()
