// The browser's own camera, with advice about the picture before it is taken: light and sharpness within the oval, judged
// as kith.quality does it (mean grey; variance of the Laplacian).

const SIDE = 112;
const DARK = 60, BRIGHT = 200, SHARP = 60;

/** Whether pages may ask for a camera here: browsers lend it to https and to this machine alone. */
export const possible = Boolean(navigator.mediaDevices?.getUserMedia);

export class Camera {
  /** box: an element of class webcam. */
  constructor(box) {
    this.box = box;
    this.video = box.querySelector("video");
    this.advice = box.querySelector(".advice");
    this.canvas = document.createElement("canvas");
    this.canvas.width = this.canvas.height = SIDE;
  }

  /** Ask for the camera and show it. Throws an Error whose message is for people. */
  async open() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } },
      });
    } catch (refused) {
      throw new Error(
        refused.name === "NotAllowedError"
          ? "The browser did not lend the camera. Allow it in the address bar, or choose pictures instead."
          : "No camera was found. Choose pictures instead.",
      );
    }
    this.box.hidden = false;
    this.video.srcObject = this.stream;
    await this.video.play();
    this.timer = setInterval(() => this.look(), 300);
  }

  close() {
    clearInterval(this.timer);
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = undefined;
    this.video.srcObject = null;
    this.box.hidden = true;
  }

  look() {
    const said = adviceFor(this.grey());
    if (this.advice.textContent !== said) this.advice.textContent = said;
  }

  /** The middle of the picture, in grey. */
  grey() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return new Float32Array(0);
    const side = Math.min(width, height) * 0.62;
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.video, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIDE, SIDE);
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    const grey = new Float32Array(SIDE * SIDE);
    for (let at = 0; at < grey.length; at++) {
      grey[at] = 0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2];
    }
    return grey;
  }

  /** The next frame is shown; before the first there is nothing that a picture could be taken of. */
  frame() {
    return new Promise((shown) => {
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(() => shown());
      else if (this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) shown();
      else this.video.addEventListener("loadeddata", () => shown(), { once: true });
    });
  }

  /** The picture as it is now, a JPEG file. Whoever asks before the camera is ready waits for it. */
  async shoot() {
    await this.frame();
    const whole = document.createElement("canvas");
    whole.width = this.video.videoWidth;
    whole.height = this.video.videoHeight;
    whole.getContext("2d").drawImage(this.video, 0, 0);
    const data = await new Promise((done) => whole.toBlob(done, "image/jpeg", 0.92));
    return new File([data], "camera.jpg", { type: "image/jpeg" });
  }
}

export function adviceFor(grey) {
  if (!grey.length) return "";
  let sum = 0;
  for (const each of grey) sum += each;
  const mean = sum / grey.length;
  if (mean < DARK) return "It is dark: face a window or a lamp.";
  if (mean > BRIGHT) return "It is very bright: turn away from the light.";
  let total = 0, squares = 0, count = 0;
  for (let y = 1; y < SIDE - 1; y++) {
    for (let x = 1; x < SIDE - 1; x++) {
      const at = y * SIDE + x;
      const edge = grey[at - 1] + grey[at + 1] + grey[at - SIDE] + grey[at + SIDE] - 4 * grey[at];
      total += edge;
      squares += edge * edge;
      count++;
    }
  }
  if (squares / count - (total / count) ** 2 < SHARP) return "Hold still: the picture is not sharp yet.";
  return "Good light, sharp picture. Fill the oval with your face.";
}
