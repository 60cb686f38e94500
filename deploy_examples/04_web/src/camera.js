/** The camera, one frame at a time. */

import { Refusal } from './bundle/refusal.js';

const REASONS = {
  NotAllowedError: 'the browser or its user refused it: allow the camera for this site, or choose an image',
  NotFoundError: 'found none: connect one, or choose an image',
  NotReadableError: 'another program uses it: close that, or choose an image',
};

export class Camera {
  #video;
  #stream = null;

  constructor(video) {
    this.#video = video;
  }

  get on() {
    return this.#stream !== null;
  }

  /**
   * Starts the camera, the one that looks away from the user where there are two, and hands over frame by frame.
   *
   * @param see takes an ImageBitmap; the next frame comes when it is done
   * @throws Refusal there is none, or it was refused
   */
  async start(see) {
    if (!navigator.mediaDevices)
      throw new Refusal('expected a page from https or localhost for the camera: serve it so, or choose an image');
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
    } catch (error) {
      throw new Refusal(`expected a camera, ${REASONS[error.name] ?? error.message}`);
    }
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    this.#watch(this.#stream, see);
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }

  async #watch(stream, see) {
    while (this.#stream === stream) {
      await see(await createImageBitmap(this.#video));
      await new Promise(requestAnimationFrame);
    }
  }
}
