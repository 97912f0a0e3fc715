#!/usr/bin/env python3
"""Buys from a shop as browsers do: the Storefront API fills carts, the checkout's pages take addresses and payments.

`check.py BINARY [--buyers N] [--units M] [--kills K] [--seed S]` starts `throughline serve --roles commerce` with nothing
else, walks one checkout through every page, and then lets N buyers at once want one of M units each, with payments that are
declined, slow, late or lost on the way, while the process is killed (kill -9) K times. In the end exactly M are sold, and
order numbers have no gap. Standard library only.
"""

import argparse
import html
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

CSV = """Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Grams,\
Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,Variant Requires Shipping,Variant Taxable
mug,Blue Mug,<p>Holds tea.</p>,Kiln,Mug,"kitchen, blue",true,Size,Small,MUG-S,300,shopify,20,deny,12.50,false,true
mug,,,,,,,,Large,MUG-L,500,shopify,20,deny,15.00,false,true
lamp,Rare Lamp,<p>The last ones.</p>,Kiln,Lamp,rare,true,Title,Default Title,LAMP,900,shopify,{units},deny,99.00,false,true
"""
# What has to end with the test.
SHOPS = []
# So long a buyer goes on trying.
PATIENCE_S = 20
METHODS = ["ok", "ok", "declined", "lost", "slow"]


class Shop:
    """The process, and requests to it that wait while it is away."""

    def __init__(self, binary, folder, units):
        self.binary, self.folder = binary, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.products = os.path.join(folder, "products.csv")
        with open(self.products, "w", encoding="utf-8") as file:
            file.write(CSV.format(units=units))
        self.process = None
        SHOPS.append(self)

    def start(self):
        settings = [
            f"shop.listen=127.0.0.1:{self.port}",
            f"shop.products={self.products}",
            "shop.test_payments=true",
        ]
        arguments = [self.binary, "serve", "--roles", "commerce", "--data", os.path.join(self.folder, "data")]
        for setting in settings:
            arguments += ["--set", setting]
        log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.02)
        fail("the shop did not start", self.log())

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        if code != 0:
            fail(f"the shop ended with {code}", self.log())

    def ask(self, path, body=None, kind=None, patience=60.0):
        """One request; tried again while nobody answers, or where it was told to come again."""
        deadline = time.monotonic() + patience
        while True:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body)
            if kind:
                request.add_header("Content-Type", kind)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, answer.read().decode(), answer.geturl()
            except urllib.error.HTTPError as error:
                text = error.read().decode()
                if error.code != 503:
                    return error.code, text, error.geturl()
            except OSError:
                pass
            if time.monotonic() > deadline:
                fail(f"nobody answers {path}", self.log())
            time.sleep(0.05)

    def graphql(self, query, variables=None):
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        status, text, _ = self.ask("/api/2026-04/graphql.json", body, "application/json")
        answer = json.loads(text)
        if status != 200 or answer.get("errors"):
            fail(f"GraphQL answered {status}", text)
        return answer["data"]

    def form(self, path, fields):
        body = urllib.parse.urlencode(fields).encode()
        return self.ask(path, body, "application/x-www-form-urlencoded")


def fail(what, more=""):
    """Ends everything, the shop too: buyers are threads, and would go on."""
    print(f"failed: {what}\n{more}")
    sys.stdout.flush()
    for shop in SHOPS:
        if shop.process and shop.process.poll() is None:
            shop.process.kill()
    os._exit(1)


def expect(condition, what, more=""):
    if not condition:
        fail(what, more)


def hidden(page, name):
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    return html.unescape(found.group(1)) if found else None


def order_number(page):
    found = re.search(r'id="order-number">(\d+)<', page)
    return int(found.group(1)) if found else None


CREATE = """mutation($lines: [CartLineInput!]!) { cartCreate(input: {lines: $lines}) {
  cart { id checkoutUrl totalQuantity cost { totalAmount { amount currencyCode } } }
  userErrors { code field message } warnings { code } } }"""


def new_cart(shop, variant, quantity=1):
    lines = [{"merchandiseId": variant, "quantity": quantity}]
    return shop.graphql(CREATE, {"lines": lines})["cartCreate"]


def buyer_fields(number, page):
    return {
        "revision": hidden(page, "revision") or "", "email": f"buyer{number}@shop.example", "first_name": "Ada",
        "last_name": f"Buyer {number}", "address1": "Street 1", "zip": "10115", "city": "Berlin", "country": "DE",
    }


def one_walk(shop):
    """Every page once: what is wrong is said, nothing is believed of a price, and a payment sent twice is one."""
    data = shop.graphql("""{ products(first: 10) { nodes { handle title variants(first: 5) { nodes { id sku price { amount } } } } }
      product(handle: "mug") { title options { name optionValues { name } } } shop { name } }""")
    handles = [product["handle"] for product in data["products"]["nodes"]]
    expect(handles == ["mug", "lamp"], "the products of the file are not there", json.dumps(data))
    variants = {v["sku"]: v["id"] for p in data["products"]["nodes"] for v in p["variants"]["nodes"]}
    made = new_cart(shop, variants["MUG-L"], 2)
    expect(not made["userErrors"], "a cart cannot be made", json.dumps(made))
    cart = made["cart"]
    expect(cart["cost"]["totalAmount"] == {"amount": "30.0", "currencyCode": "EUR"}, "two large mugs are 30.0", json.dumps(cart))
    path = urllib.parse.urlparse(cart["checkoutUrl"]).path
    status, page, _ = shop.ask(path)
    expect(status == 200 and "<script" not in page, "the checkout needs no script", page)
    wrong = {**buyer_fields(0, page), "email": "nobody", "city": ""}
    status, answer, _ = shop.form(path, wrong)
    expect(status == 422 and 'id="email-problem"' in answer and 'id="city-problem"' in answer, "what is wrong is not said", answer)
    status, page, where = shop.form(path, {**buyer_fields(0, page), "last_name": "<b>O'Neil</b>"})
    expect(status == 200 and where.endswith("/payment"), f"no way to the payment: {status} {where}", page)
    cheap = {"revision": hidden(page, "revision"), "total_minor": "1", "means": "test:ok"}
    status, answer, _ = shop.form(path + "/payment", cheap)
    expect(status == 409 and hidden(answer, "total_minor") == "3000", f"a price of the buyer's own: {status}", answer)
    right = {"revision": hidden(answer, "revision"), "total_minor": "3000", "means": "test:declined"}
    status, answer, _ = shop.form(path + "/payment", right)
    expect(status == 200 and 'role="alert"' in answer and order_number(answer) is None, "a declined card is not said", answer)
    right = {"revision": hidden(answer, "revision"), "total_minor": "3000", "means": "test:ok"}
    pages = [shop.form(path + "/payment", right)[1] for _ in range(2)]
    numbers = [order_number(page) for page in pages]
    expect(numbers[0] is not None and numbers[0] == numbers[1], f"sent twice: orders {numbers}", pages[0])
    expect("<b>O" not in pages[0] and "&lt;b&gt;O" in pages[0], "a name is not escaped", pages[0])
    expect(shop.ask("/checkout/nobody-knows-this")[0] == 404, "a token that there is not")
    return variants, numbers[0]


def one_buyer(shop, variant, number, seed, carts):
    chance = random.Random(seed * 1_000 + number)
    deadline = time.monotonic() + PATIENCE_S
    made = new_cart(shop, variant)
    while made["cart"] is None or made["cart"]["totalQuantity"] == 0:
        # The last ones may lie in checkouts that come to nothing.
        if time.monotonic() > deadline:
            return
        time.sleep(0.2 + chance.random() * 0.4)
        made = new_cart(shop, variant)
    path = urllib.parse.urlparse(made["cart"]["checkoutUrl"]).path
    carts.append(path)
    _, page, _ = shop.ask(path)
    shop.form(path, buyer_fields(number, page))
    while time.monotonic() < deadline:
        _, page, _ = shop.ask(path + "/payment")
        if order_number(page) is not None:
            return
        revision, total = hidden(page, "revision"), hidden(page, "total_minor")
        if revision is None or total is None:
            # It is being processed, or there is none left.
            time.sleep(0.1)
            continue
        fields = {"revision": revision, "total_minor": total, "means": f"test:{chance.choice(METHODS)}"}
        _, page, _ = shop.form(path + "/payment", fields)
        if order_number(page) is None:
            time.sleep(chance.random() * 0.2)


def everybody(shop, variant, options):
    carts = []
    buyers = [
        threading.Thread(target=one_buyer, args=(shop, variant, number, options.seed, carts), daemon=True)
        for number in range(options.buyers)
    ]
    for buyer in buyers:
        buyer.start()
    chance = random.Random(options.seed)
    for _ in range(options.kills):
        time.sleep(0.3 + chance.random())
        shop.kill()
        shop.start()
    for buyer in buyers:
        buyer.join(timeout=120)
        expect(not buyer.is_alive(), "a buyer still waits", shop.log())
    return carts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--buyers", type=int, default=40)
    parser.add_argument("--units", type=int, default=7)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.buyers} buyers want {options.units} units, {options.kills} kills")
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(options.binary, folder, options.units)
        shop.start()
        variants, first = one_walk(shop)
        carts = everybody(shop, variants["LAMP"], options)
        # Once more, so that all is read back from disk.
        shop.kill()
        shop.start()
        numbers = [order_number(shop.ask(path)[1]) for path in carts]
        sold = sorted(number for number in numbers if number is not None)
        expect(len(sold) == options.units, f"{len(sold)} of {options.units} units were sold", f"{sold}\n{shop.log()}")
        expect(sold == list(range(first + 1, first + 1 + options.units)), f"order numbers have gaps: {sold}")
        lamp = shop.graphql('{ product(handle: "lamp") { availableForSale } }')["product"]
        expect(lamp["availableForSale"] is False, "what is sold out is still for sale")
        shop.stop()
    print(f"shop: one walk through every page; exactly {options.units} sold to {options.buyers} buyers over {options.kills} kills")


if __name__ == "__main__":
    sys.exit(main())
