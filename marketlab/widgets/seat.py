"""A widget's place at the pump: its scene, its flow, and what has changed since its last frame."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from marketlab.errors import MarketlabError
from marketlab.records import Record
from marketlab.widgets.contract import Flag, Frame, Kind, Scene, State, pack
from marketlab.widgets.flow import Flow

__all__ = ["Seat"]


class Seat:
    """A widget's place at the pump. Everything in it belongs to the feed's thread.

    Args:
        scene: What is drawn.
        send: Takes a packed frame to the browser; called in the feed's thread, and never waits.
        tell: Told, in the feed's thread, what cannot be had, in one sentence; empty: all is well again.
        ended: Called when the feed has stopped.
        rate: Frames a second, at most.
        heard: Whether what pages say now is heard soon, since nothing else is being done; asked in the feed's thread.
    """

    def __init__(
        self,
        scene: Scene,
        send: Callable[[bytes], None],
        tell: Callable[[str], None],
        ended: Callable[[], None],
        rate: float = 60.0,
        heard: Callable[[], bool] = lambda: False,
    ) -> None:
        self.scene = scene
        self.send = send
        self.tell = tell
        self.ended = ended
        self.heard = heard
        self.flow = Flow(rate)
        self.dirty = True
        self.origin = ""
        self.changed_at = 0.0
        self.frames_sent = 0
        self.bytes_sent = 0
        self.timer: asyncio.TimerHandle | None = None
        self.preparing: asyncio.Task[None] | None = None
        self.paused = False
        self._held: Sequence[Frame] = ()
        self._held_svg = ""
        self._told = ""
        self._refused = self._fresh = self._complete = self._lacks = False
        self._oldest = 0
        self._newest = 0

    def pause(self, paused: bool) -> None:
        """Hold the picture as it is now, or the first complete one that there is; or go on."""
        self.paused = paused
        self.release()
        self.flow.whole = self.dirty = True

    def release(self) -> None:
        """What was held is not wanted any more."""
        self._held, self._held_svg = (), ""

    def svg(self) -> str:
        """The picture that is shown, which is an older one while it is paused."""
        if self.paused and not self._held:
            self._picture()
        return self._held_svg or self.scene.svg()

    def show(self, scene: Scene) -> None:
        """Draw something else from now on."""
        self.scene, self.origin, self._complete = scene, "", False
        self.release()
        self._oldest = self._newest = 0
        self.flow.whole = self.dirty = self._fresh = True

    def prepared(self) -> None:
        """What lies before the streams is there: what was held without it is held anew."""
        if not self._complete:
            self._complete = True
            self.release()

    def take(self, record: Record) -> bool:
        """Take a record of one of the scene's symbols; returns whether it is the first news since the last frame."""
        if not self.scene.take(record):
            return False
        self.origin = record.origin
        self._newest = record.received
        if self._oldest:
            return False
        self._oldest = record.received
        first, self.dirty = not self.dirty, True
        return first

    def due(self, now: float, share_hz: float) -> float | None:
        """When its next frame is; see `Flow.due`."""
        return self.flow.due(now, dirty=self.dirty and not self._held, share_hz=share_hz)

    def put_out(self, state: State, now: float) -> None:
        """Send the picture as it is now; only its state where it is paused or not yet there."""
        frames = self._picture() or (Frame(Kind.BLANK),)
        if self._fresh:
            self._fresh = False
            frames = [msgspec.structs.replace(frames[0], flags=frames[0].flags | Flag.FRESH), *frames[1:]]
        if self.paused and state is State.RUNNING:
            state = State.PAUSED
        sequence = self.flow.sent(now, len(frames))
        for place, frame in enumerate(frames):
            packed = pack(
                frame,
                sequence=sequence + place,
                state=state,
                origin=self.origin or frame.origin,
                oldest=self._oldest,
                newest=self._newest,
                sent=time.time_ns() // 1000,
            )
            self.send(packed)
            self.frames_sent += 1
            self.bytes_sent += len(packed)
        self.dirty = False
        self._oldest = self._newest = 0

    def check(self, wants: Callable[[str, str], bool]) -> None:
        """Say it where the feed does not stream any more what is drawn; `wants` tells it of a symbol and channel."""
        if not self._complete:
            return
        lacked = next((need for need in self.scene.needs() if not wants(need.symbol, need.channel)), None)
        if lacked is not None:
            self._lacks = True
            call = f"feed.subscribe({lacked.symbol!r}, {lacked.channel!r})"
            self.say(f"{lacked.channel} of {lacked.symbol} is not streamed any more; {call} brings it back.")
        elif self._lacks:
            self._lacks = False
            self.say("")

    def say(self, notice: str) -> None:
        """Tell something where it has not been told yet."""
        if notice != self._told:
            self._told = notice
            self.tell(notice)

    def _picture(self) -> Sequence[Frame]:
        if self._held:
            return self._held if self.flow.whole else ()
        try:
            frames = self.scene.frames(whole=self.flow.whole or self.paused)
        except MarketlabError as error:
            self._refused = True
            self.say(str(error))
            return ()
        if self._refused:
            self._refused = False
            self.say("")
        if self.paused and all(map(_is_complete, frames)):
            self._held, self._held_svg = [_copy(frame) for frame in frames], self.scene.svg()
        return frames


def _is_complete(frame: Frame) -> bool:
    return frame.kind is not Kind.BLANK and Flag.LOADING not in frame.flags


def _copy(frame: Frame) -> Frame:
    # A scene's columns may go on changing.
    return msgspec.structs.replace(frame, columns=[tuple(column) for column in frame.columns])
