"""What is run in the notebooks: a feed, then a widget of ours or a figure of plotly that shows the same data.

What is long is run in no cell, so that what is shown is in sight.
"""

FEED = """
import asyncio, time
import marketlab as ml

feed = ml.live(["BTCUSDT"], ["trade", "book", "quote"], ws_url={ws_url!r}, rest_url={rest_url!r})
feed.wait(trades=100)
"""

WIDGETS = {
    "book_ladder": """
widget = ml.BookLadder(feed, "BTCUSDT", depth=20)
widget
""",
    "kline_chart": """
widget = ml.KlineChart(feed, "BTCUSDT", interval="1m", bars={bars}, overlays=[])
widget
""",
}

MESSAGES = '''
import anywidget

class Messages(anywidget.AnyWidget):
    _esm = """
    export default {{ render({{ model, el }}) {{
      el.className = "bare";
      model.on("msg:custom", () => {{}});
      const reports = setInterval(() => model.send({{ type: "report" }}), 250);
      return () => clearInterval(reports);
    }} }};
    """

sent = 0
widget = Messages()
widget.on_msg(lambda *_: None)

async def post():
    global sent
    while True:
        await asyncio.sleep(1 / {hertz})
        widget.send({{}}, [bytes({size})])
        sent += 1

posting = asyncio.run_coroutine_threadsafe(post(), feed.loop)
'''

SERVED = """(lambda pump: [pump.running_pumps(), len(pump.pump_of(feed).seats)])(
    __import__("marketlab.widgets.pump").widgets.pump
)"""

FIGURE = """
import plotly.graph_objects as go

PERIOD = 60_000_000
table = feed.history("BTCUSDT", "1m", {bars})
times = [int(opened.timestamp() * 1e6) for opened in table["open_time"]]
columns = {{name: table[name].to_list() for name in ("open", "high", "low", "close", "volume")}}
oldest = newest = 0

def take(batch):
    global oldest, newest
    for record in batch:
        if type(record).__name__ != "Trade":
            continue
        newest = record.received
        oldest = oldest or newest
        price, opened = record.price, record.time // PERIOD * PERIOD
        if opened > times[-1]:
            for column in (times, *columns.values()):
                del column[0]
            times.append(opened)
            for name, column in columns.items():
                column.append(0.0 if name == "volume" else price)
        columns["high"][-1] = max(columns["high"][-1], price)
        columns["low"][-1] = min(columns["low"][-1], price)
        columns["close"][-1] = price
        columns["volume"][-1] += record.size

def looks():
    colours = ["#26a69a" if end >= begin else "#ef5350" for begin, end in zip(columns["open"], columns["close"])]
    prices = {{name: list(column) for name, column in columns.items() if name != "volume"}}
    return prices, dict(y=list(columns["volume"]), marker_color=colours), columns["close"][-1]

def stamps(micros):
    return [time.strftime("%Y-%m-%d %H:%M", time.gmtime(at / 1e6)) for at in micros]

prices, volumes, last = looks()
figure = go.FigureWidget(
    [go.Candlestick(x=stamps(times), **prices), go.Bar(x=stamps(times), yaxis="y2", **volumes)],
    layout=dict(
        height=420, margin=dict(l=40, r=10, t=10, b=30), xaxis_rangeslider_visible=False, showlegend=False,
        yaxis=dict(domain=[0.2, 1]), yaxis2=dict(domain=[0, 0.18]),
    ),
)
figure.add_hline(y=last, line_dash="dot", line_width=1)
hertz, sent = 2, 0

async def draw():
    global oldest, sent
    due = time.monotonic()
    while True:
        due = max(due + 1 / (hertz or 10), time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        if not hertz or not oldest:
            continue
        stamp = [oldest, newest, time.time_ns() // 1000]
        oldest = 0
        prices, volumes, last = looks()
        with figure.batch_update():
            candles, bars = figure.data
            candles.update(x=stamps(times), meta=stamp, **prices)
            bars.update(x=stamps(times), **volumes)
            figure.layout.shapes[0].update(y0=last, y1=last)
        sent += 1

def play(rate, seconds):
    global hertz
    hertz = rate
    asyncio.get_running_loop().call_later(seconds, pause)

def pause():
    global hertz
    hertz = 0

taking = feed.lossless(take)
drawing = asyncio.ensure_future(draw())
"""
